from __future__ import annotations

import gc
import warnings
import weakref

import keras
import numpy as np
import pytest
from PIL import Image

import kseg
from kseg.inference import predict_rows, tiling_difference
from kseg.inference.tta import DIHEDRAL, FLIPS
from tests.helpers import toy_models

# "Equal to the untiled result": the promise of kseg.predict.
EXACT = 1e-4


def image(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def softmax(logits):
    e = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def toy():
    return toy_models.encoder_decoder()


@pytest.fixture(scope="module")
def unet():
    return toy_models.randomise(kseg.UNet(3, (None, None, 1), filters=4, depth=3))


def test_whole_image_is_what_the_model_returns(toy):
    picture = image(20, 28)
    logits = toy(picture[None].astype("float32"), training=False).numpy()[0]
    # The same graph once eager and once compiled: grappler may reorder float32 sums of a few hundred terms.
    tolerance = 1e-5 * logits.std()
    np.testing.assert_allclose(kseg.predict(toy, picture, output="logits"), logits, atol=tolerance)
    np.testing.assert_allclose(kseg.predict(toy, picture, output="probabilities"), softmax(logits), atol=1e-5)
    classes = kseg.predict(toy, picture)
    assert classes.dtype == np.uint8
    assert classes.shape == (20, 28)
    np.testing.assert_array_equal(classes, logits.argmax(-1))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"upsampling": "bilinear"},
        {"norm": None},
        {"padding": "valid", "norm": None},
        {"padding": "valid", "norm": None, "upsampling": "bilinear"},
        {"depth": 4},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "default",
)
def test_unet_in_tiles_equals_the_whole_image(options):
    model = toy_models.randomise(kseg.UNet(3, (None, None, 1), **{"filters": 4, "depth": 3, **options}))
    overlap = model.receptive_field_radius - model.margin
    # Odd sizes, so that the model pads the last row and column; tiles of unlike height and width.
    tile = (2 * overlap + 2 * model.margin + 17, 2 * overlap + 2 * model.margin + 31)
    found = tiling_difference(model, image(149, 118, 1), tile, overlap)
    assert found.exact
    assert found.largest < EXACT * found.logit_std
    assert found.changed_pixels == 0


def test_a_larger_overlap_than_needed_is_exact_too(toy):
    found = tiling_difference(toy, image(100, 92), 64, 20)
    assert found.exact
    assert found.largest < EXACT * found.logit_std


def test_wrong_phase_or_border_would_show(toy):
    """The exactness tests can fail: with less overlap the same comparison sees a difference."""
    found = tiling_difference(toy, image(100, 92), 64, 6)
    assert not found.exact
    assert found.largest > 100 * EXACT * found.logit_std


def test_global_context_is_measured_and_warned_about():
    model = toy_models.encoder_decoder(global_context=True)
    picture = image(96, 96)
    picture[:48] //= 3
    with pytest.warns(UserWarning, match="this model looks at the whole image.*tiling_difference measures it"):
        tiled = kseg.predict(model, picture, tile=48, overlap=8, output="logits")
    whole = kseg.predict(model, picture, output="logits")
    found = tiling_difference(model, picture, 48, 8)
    np.testing.assert_allclose(found.largest, np.abs(tiled - whole).max(), rtol=1e-5)
    np.testing.assert_allclose(found.mean, np.abs(tiled - whole).mean(), rtol=1e-4)
    np.testing.assert_allclose(found.logit_std, whole.std(), rtol=1e-4)
    np.testing.assert_allclose(found.changed_pixels, np.mean(tiled.argmax(-1) != whole.argmax(-1)))
    assert found.largest > EXACT * found.logit_std
    assert not found.exact
    assert f"{found.changed_pixels:.4%} of the pixels get another class" in str(found)


def test_too_small_an_overlap_draws_a_warning_that_names_the_exact_one(toy):
    with pytest.warns(UserWarning, match=r"looks 14 pixels far\. Use overlap=14 with tiles well above 28"):
        kseg.predict(toy, image(100, 92), tile=48, overlap=4)


def test_exact_tiling_draws_no_warning(toy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kseg.predict(toy, image(100, 92), tile=64)


def test_batch_size_changes_nothing(toy):
    picture = image(64, 200)
    results = [kseg.predict(toy, picture, tile=48, batch_size=n, output="logits") for n in (1, 3, 100)]
    for other in results[1:]:
        # Convolutions of other batch sizes may sum in another order.
        np.testing.assert_allclose(other, results[0], atol=EXACT * results[0].std())


def test_valid_padding_mirrors_the_border_as_the_paper_does():
    model = toy_models.randomise(kseg.UNet(2, (None, None, 1), filters=4, depth=2, norm=None, padding="valid"))
    picture = image(30, 41, 1)
    logits = kseg.predict(model, picture, output="logits")
    assert logits.shape == (30, 41, 2)
    m = model.margin
    padded = np.pad(picture, ((m, m + 3), (m, m + 3), (0, 0)), mode="reflect")
    expected = model(padded[None].astype("float32"), training=False).numpy()[0, :30, :41]
    np.testing.assert_allclose(logits, expected, atol=EXACT * expected.std())


def test_an_image_of_one_pixel(unet):
    assert kseg.predict(unet, image(1, 1, 1)).shape == (1, 1)
    valid = kseg.UNet(2, (None, None, 1), filters=4, depth=2, norm=None, padding="valid")
    assert kseg.predict(valid, image(1, 1, 1)).shape == (1, 1)


@pytest.mark.parametrize("size", [(20, 30), (32, 32), (70, 45)])
def test_fixed_input_size(size):
    free = toy_models.encoder_decoder()
    fixed = toy_models.encoder_decoder(input_size=(32, 32))
    fixed.set_weights(free.get_weights())
    picture = image(*size)
    with warnings.catch_warnings():
        # 32 pixels leave no exact overlap of 14 on either side of four.
        warnings.simplefilter("ignore")
        logits = kseg.predict(fixed, picture, overlap=12, output="logits")
    assert logits.shape == (*size, 3)
    padded = np.pad(picture, ((0, 90), (0, 90), (0, 0)), mode="reflect")
    if size[0] <= 32:
        expected = fixed(padded[None, :32, :32].astype("float32"), training=False).numpy()[0]
        np.testing.assert_allclose(logits, expected[: size[0], : size[1]], atol=EXACT * expected.std())
    else:
        expected = free(padded[None, :72, :48].astype("float32"), training=False).numpy()[0, :70, :45]
        assert np.abs(logits - expected).mean() < 0.1 * expected.std()


def test_fixed_size_refuses_other_tiles():
    model = toy_models.encoder_decoder(input_size=(32, 48))
    with pytest.raises(ValueError, match="tile height must be 32, the only one that this model takes; got 64"):
        kseg.predict(model, image(100, 100), tile=64)
    with pytest.raises(ValueError, match='tta="dihedral" turns tiles'):
        kseg.predict(model, image(30, 30), tta="dihedral")
    with pytest.raises(ValueError, match=r"must fit into the model's fixed input size \(32, 48\)"):
        tiling_difference(model, image(100, 100), None, 4)


# One class, many classes


def test_sigmoid_case():
    model = toy_models.pointwise(channels=1, num_classes=1)
    picture = image(9, 11, 1)
    logits = kseg.predict(model, picture, output="logits")
    assert logits.shape == (9, 11, 1)
    probabilities = kseg.predict(model, picture, output="probabilities")
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits.astype(np.float64))), atol=1e-6)
    classes = kseg.predict(model, picture, tile=5, overlap=1)
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, logits[..., 0] > 0)
    np.testing.assert_array_equal(kseg.predict(model, picture, tta=True), logits[..., 0] > 0)


@pytest.mark.parametrize(("num_classes", "dtype"), [(256, np.uint8), (257, np.uint16)])
def test_class_maps_have_the_smallest_type(num_classes, dtype):
    model = toy_models.pointwise(num_classes=num_classes)
    logits = kseg.predict(model, image(4, 4, 1), output="logits")
    classes = kseg.predict(model, image(4, 4, 1))
    assert classes.dtype == dtype
    np.testing.assert_array_equal(classes, logits.argmax(-1))


def test_extreme_logits_give_finite_probabilities():
    model = toy_models.pointwise(num_classes=3)
    model.layers[-1].set_weights([np.array([[[[1e4, 0, -1e4]]]]), np.zeros(3)])
    probabilities = kseg.predict(model, image(4, 4, 1), output="probabilities")
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-6)


# Test-time augmentation


def equivariant_by_hand(model, picture, symmetries):
    total = 0
    for symmetry in symmetries:
        logits = model(symmetry.apply(picture[None].astype("float32")), training=False).numpy()
        total = total + symmetry.undo(softmax(logits))
    return total[0] / len(symmetries)


@pytest.mark.parametrize(("tta", "group"), [(True, FLIPS), ("dihedral", DIHEDRAL)])
def test_augmentation_averages_probabilities(toy, tta, group):
    picture = image(36, 52)
    expected = equivariant_by_hand(toy, picture, group)
    np.testing.assert_allclose(kseg.predict(toy, picture, tta=tta, output="probabilities"), expected, atol=1e-5)
    np.testing.assert_array_equal(kseg.predict(toy, picture, tta=tta), expected.argmax(-1))


@pytest.mark.parametrize("tta", [True, "dihedral"])
def test_augmentation_in_tiles_equals_that_of_the_whole_image(unet, tta):
    picture = image(101, 90, 1)
    whole = kseg.predict(unet, picture, tta=tta, output="probabilities")
    tiled = kseg.predict(unet, picture, tile=(70, 66), overlap=23, tta=tta, output="probabilities")
    # A probability changes by at most half as much as a logit.
    np.testing.assert_allclose(tiled, whole, atol=EXACT)
    plain = kseg.predict(unet, picture, output="probabilities")
    assert np.abs(plain - whole).max() > 0.01, "the network is not symmetric, so augmentation must show"


def test_augmentation_changes_nothing_for_an_equivariant_model():
    model = toy_models.pointwise()
    picture = image(13, 21, 1)
    plain = kseg.predict(model, picture, output="probabilities")
    for tta in (True, "dihedral"):
        np.testing.assert_allclose(kseg.predict(model, picture, tta=tta, output="probabilities"), plain, atol=1e-6)


# Kinds of input and output


def test_batches_and_single_images_agree(toy):
    pictures = np.stack([image(20, 24, seed=n) for n in range(3)])
    classes = kseg.predict(toy, pictures)
    assert classes.shape == (3, 20, 24)
    for one, result in zip(pictures, classes, strict=True):
        np.testing.assert_array_equal(kseg.predict(toy, one), result)
    out = np.zeros((3, 20, 24, 3), np.float32)
    assert kseg.predict(toy, pictures, output="logits", out=out) is out
    assert out.any()
    with pytest.raises(ValueError, match="out must hold 3 results"):
        kseg.predict(toy, pictures, out=np.zeros((2, 20, 24), np.uint8))
    with pytest.raises(ValueError, match="must not be empty"):
        kseg.predict(toy, pictures[:0])


def test_paths(toy, tmp_path):
    Image.fromarray(image(20, 24)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(kseg.predict(toy, tmp_path / "a.png"), kseg.predict(toy, image(20, 24)))
    np.testing.assert_array_equal(kseg.predict(toy, str(tmp_path / "a.png")), kseg.predict(toy, image(20, 24)))
    with pytest.raises(kseg.data.DataError, match=r"b\.png: no such file"):
        kseg.predict(toy, tmp_path / "b.png")


def test_integer_and_float_images_agree(toy):
    picture = image(20, 24)
    expected = kseg.predict(toy, picture, output="logits")
    for dtype in ("float32", "float64", "uint16", "int32"):
        np.testing.assert_array_equal(kseg.predict(toy, picture.astype(dtype), output="logits"), expected)


def test_rows_are_those_of_the_whole_result(toy):
    picture = image(100, 60)
    for output in ("classes", "probabilities", "logits"):
        whole = kseg.predict(toy, picture, tile=48, output=output)
        seen = 0
        parts = []
        for first, rows in predict_rows(toy, picture, tile=48, output=output):
            assert first == seen
            assert len(rows) > 0
            seen += len(rows)
            parts.append(rows)
        assert seen == 100
        assert len(parts) > 2
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_rows_are_checked_at_the_call(toy):
    with pytest.raises(ValueError, match="tile height 8 is too small"):
        predict_rows(toy, image(100, 60), tile=8, overlap=8)


def test_out(toy):
    picture = image(40, 44)
    out = np.zeros((40, 44), np.int64)
    assert kseg.predict(toy, picture, out=out) is out
    np.testing.assert_array_equal(out, kseg.predict(toy, picture))
    with pytest.raises(ValueError, match=r"out must be uint8 of the shape \(40, 44\); got uint8 of the shape \(4, 4\)"):
        kseg.predict(toy, picture, out=np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"out must be float32 of the shape \(40, 44, 3\); got uint8"):
        kseg.predict(toy, picture, output="probabilities", out=np.zeros((40, 44, 3), np.uint8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 0}, "tile must be an integer of at least 1, or a pair"),
        ({"tile": 64.0}, r"tile must be an integer .*; got 64\.0"),
        ({"tile": (64, 64, 64)}, "tile must be an integer of at least 1, or a pair"),
        ({"tile": 64, "overlap": -1}, "overlap must be an integer of at least 0"),
        ({"output": "mask"}, "output must be one of 'classes', 'probabilities', 'logits'; got 'mask'"),
        ({"output": "logits", "tta": True}, "output='logits' cannot be had with tta"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1; got 0"),
        ({"tta": "all"}, "tta must be False, True"),
    ],
)
def test_options_that_cannot_be(toy, options, message):
    with pytest.raises(ValueError, match=message):
        kseg.predict(toy, image(100, 100), **options)


def test_float_images_within_one_draw_a_warning(unet):
    with pytest.warns(UserWarning, match=r"floats within 0\.\.1, and the model's input_range is \(0, 255\)"):
        kseg.predict(unet, np.full((8, 8, 1), 0.5, np.float32))


# Models


def test_models_that_are_none():
    with pytest.raises(TypeError, match=r"model must be a Keras model; got str\. Load one with"):
        kseg.predict("m.keras", image(8, 8))
    with pytest.raises(ValueError, match="is not built"):
        kseg.predict(keras.Sequential([keras.layers.Conv2D(2, 1)]), image(8, 8))
    two = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="one input and one output; it has 2 and 1"):
        kseg.predict(keras.Model(two, keras.layers.Add()(two)), image(8, 8))
    x = keras.Input((8, 8, 3))
    with pytest.raises(
        ValueError, match=r"must return logits \(batch, height, width, num_classes\); it returns \(None, 192\)"
    ):
        kseg.predict(keras.Model(x, keras.layers.Flatten()(x)), image(8, 8))
    y = keras.Input((8,))
    with pytest.raises(ValueError, match=r"must take images .*; it takes \(None, 8\)"):
        kseg.predict(keras.Model(y, keras.layers.Dense(2)(y)), image(8, 8))
    smaller = keras.Input((None, None, 3))
    model = keras.Model(smaller, keras.layers.MaxPooling2D(2)(smaller))
    with pytest.raises(ValueError, match="model returned maps of 4x4 pixels for an input of 8x8; expected 8x8"):
        kseg.predict(model, image(8, 8))
    lopsided = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="as many pixels on one side as on the other"):
        kseg.predict(keras.Model(lopsided, keras.layers.Cropping2D(((0, 1), (0, 1)))(lopsided)), image(8, 8))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_models_that_end_in_probabilities_are_refused(activation):
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, keras.layers.Conv2D(2, 1, activation=activation, name="head")(x))
    with pytest.raises(ValueError, match=f"must return logits; its last layer 'head' applies {activation}"):
        kseg.predict(model, image(8, 8))


def test_softmax_layer_is_refused():
    x = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="applies softmax"):
        kseg.predict(keras.Model(x, keras.layers.Softmax()(x)), image(8, 8))


def test_new_weights_are_used_and_models_are_not_kept_alive():
    model = toy_models.pointwise()
    before = kseg.predict(model, image(4, 4, 1), output="logits")
    model.set_weights([2 * w for w in model.get_weights()])
    np.testing.assert_allclose(kseg.predict(model, image(4, 4, 1), output="logits"), 2 * before, rtol=1e-5)
    reference = weakref.ref(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert reference() is None


def test_mixed_precision_gives_float32():
    model = kseg.UNet(2, (None, None, 1), filters=4, depth=2, dtype="mixed_bfloat16")
    logits = kseg.predict(model, image(20, 20, 1), output="logits")
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
