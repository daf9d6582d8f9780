"""Scales and flips at test time: what is averaged, in tiles as on the whole image."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
import tensorflow as tf

import kseg
from kseg.inference import predict_files, predict_rows
from kseg.inference.scaled_axis import plan_scaled_axis
from kseg.inference.tiling import plan_axis
from kseg.inference.tta import DIHEDRAL, FLIPS, IDENTITY, Symmetry, checked_scales, symmetries
from tests.helpers import toy_models
from tests.helpers.quarter_model import Quarter

SCALES = (0.5, 1, 1.5)
# A probability changes by at most half as much as its logit, of which kseg.predict promises 1e-4 standard deviations.
EXACT = 1e-4


def image(height, width, channels=1, seed=0):
    """Smooth and rough parts, so that scales differ."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(0, 256, (height, width, channels))
    smooth = tf.image.resize(rng.uniform(0, 255, (4, 4, channels)), (height, width)).numpy()
    return np.where(np.arange(width)[:, None] < width // 2, rough, smooth).astype(np.uint8)


@pytest.fixture(scope="module")
def unet():
    return toy_models.randomise(kseg.UNet(3, (None, None, 1), filters=4, depth=3))


@pytest.fixture(scope="module")
def valid():
    return toy_models.randomise(kseg.UNet(3, (None, None, 1), filters=4, depth=2, norm=None, padding="valid"))


def by_definition(model, picture, scales, group=(IDENTITY,)):
    """The mean of the probabilities of every copy, by TensorFlow's resize."""
    total = 0
    size = picture.shape[:2]
    for scale in scales:
        scaled = [max(1, round(n * scale)) for n in size]
        resized = tf.image.resize(picture.astype(np.float32)[None], scaled, antialias=True).numpy()
        for symmetry in group:
            logits = model(symmetry.apply(resized), training=False).numpy()
            activation = tf.nn.softmax if logits.shape[-1] > 1 else tf.nn.sigmoid
            total = total + tf.image.resize(symmetry.undo(activation(logits).numpy()), size).numpy()[0]
    return total / (len(scales) * len(group))


@pytest.mark.parametrize("scales", [(0.5,), (1.5, 1), (0.25, 0.75, 2)])
def test_the_mean_of_resized_probabilities(unet, scales):
    picture = image(37, 52)
    found = kseg.predict(unet, picture, scales=scales, output="probabilities")
    assert found.dtype == np.float32
    # The images differ by float32 coordinates (255 * 1e-5), which the network passes on like any other rounding.
    np.testing.assert_allclose(found, by_definition(unet, picture, scales), atol=EXACT)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(kseg.predict(unet, picture, scales=scales), found.argmax(-1))


@pytest.mark.parametrize(
    ("flips", "group"),
    [
        ("horizontal", (IDENTITY, Symmetry(flip_columns=True))),
        ("vertical", (IDENTITY, Symmetry(flip_rows=True))),
        ("both", FLIPS),
    ],
)
def test_flips_and_scales_together(unet, flips, group):
    picture = image(33, 41)
    expected = by_definition(unet, picture, (0.75, 1), group)
    np.testing.assert_allclose(
        kseg.predict(unet, picture, scales=(0.75, 1), flips=flips, output="probabilities"), expected, atol=EXACT
    )


def test_turns_and_scales_together(unet):
    picture = image(33, 41)
    expected = by_definition(unet, picture, (0.75,), DIHEDRAL)
    found = kseg.predict(unet, picture, scales=0.75, tta="dihedral", output="probabilities")
    np.testing.assert_allclose(found, expected, atol=EXACT)


@pytest.mark.parametrize("scales", [(1,), SCALES, (0.7, 1.3), (2,)])
@pytest.mark.parametrize("flips", [None, "both"])
def test_tiles_equal_the_whole_image(unet, scales, flips):
    # Odd sizes: at every scale the network pads other rows and columns.
    picture = image(131, 118)
    options = {"scales": scales, "flips": flips, "output": "probabilities"}
    if scales == (1,) and flips is None:
        options["output"] = "logits"
    overlap = unet.receptive_field_radius
    tile = (2 * overlap + 17, 2 * overlap + 31)
    whole = kseg.predict(unet, picture, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiled = kseg.predict(unet, picture, tile=tile, overlap=overlap, batch_size=3, **options)
    np.testing.assert_allclose(tiled, whole, atol=EXACT)


@pytest.mark.parametrize("scales", [(0.6,), SCALES])
def test_tiles_of_valid_padding_equal_the_whole_image(valid, scales):
    picture = image(95, 74)
    overlap = max(valid.receptive_field_radius - valid.margin, 0)
    tile = 2 * overlap + 2 * valid.margin + 21
    options = {"scales": scales, "flips": "horizontal", "output": "probabilities"}
    whole = kseg.predict(valid, picture, **options)
    assert whole.shape == (95, 74, 3)
    np.testing.assert_allclose(kseg.predict(valid, picture, tile=tile, overlap=overlap, **options), whole, atol=EXACT)


def test_valid_padding_mirrors_the_rescaled_image(valid):
    picture = image(30, 40)
    small = tf.image.resize(picture.astype(np.float32), (15, 20), antialias=True).numpy()
    probabilities = kseg.predict(valid, small, output="probabilities")
    np.testing.assert_allclose(
        kseg.predict(valid, picture, scales=0.5, output="probabilities"),
        tf.image.resize(probabilities, (30, 40)).numpy(),
        atol=EXACT,
    )


def test_too_little_context_would_show(unet):
    """The tests of equality can fail: with less overlap the same comparison sees seams, and a warning says so."""
    picture = image(131, 118)
    options = {"scales": (0.5, 1.5), "output": "probabilities"}
    whole = kseg.predict(unet, picture, **options)
    with pytest.warns(UserWarning, match=r"will not give exactly what the whole image gives: this model looks"):
        tiled = kseg.predict(unet, picture, tile=48, overlap=2, **options)
    assert np.abs(tiled - whole).max() > 10 * EXACT


def test_global_context_stays_close_and_warns():
    model = toy_models.encoder_decoder(channels=1, global_context=True)
    picture = image(96, 96)
    options = {"scales": (1, 0.5), "output": "probabilities"}
    with pytest.warns(UserWarning, match="this model looks at the whole image"):
        tiled = kseg.predict(model, picture, tile=48, overlap=8, **options)
    whole = kseg.predict(model, picture, **options)
    assert np.abs(tiled - whole).mean() < 0.1


def test_one_class():
    model = toy_models.randomise(kseg.UNet(1, (None, None, 1), filters=4, depth=2))
    picture = image(29, 31)
    found = kseg.predict(model, picture, scales=SCALES, flips="horizontal", output="probabilities")
    group = (IDENTITY, Symmetry(flip_columns=True))
    np.testing.assert_allclose(found, by_definition(model, picture, SCALES, group), atol=EXACT)
    classes = kseg.predict(model, picture, scales=SCALES, flips="horizontal")
    np.testing.assert_array_equal(classes, found[..., 0] > 0.5)


@pytest.mark.parametrize("num_classes", [1, 3])
def test_models_with_small_logits_are_rescaled_too(num_classes):
    """Such a model finds the classes of a whole image without its logits: not where copies are averaged."""
    picture = image(61, 83, 3)
    model = toy_models.randomise(Quarter(num_classes, "bilinear"), picture[None])
    found = kseg.predict(model, picture, scales=0.5, output="probabilities")
    expected = found.argmax(-1) if num_classes > 1 else found[..., 0] > 0.5
    np.testing.assert_array_equal(kseg.predict(model, picture, scales=0.5), expected)
    np.testing.assert_allclose(found, by_definition(model, picture, (0.5,)), atol=EXACT)
    assert np.mean(kseg.predict(model, picture) != expected) > 0.01, "scale 1 differs, or the comparison says nothing"


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2)])
def test_tiny_images(unet, valid, size):
    for model in (unet, valid):
        found = kseg.predict(model, image(*size), scales=(0.1, 1, 3), output="probabilities")
        assert found.shape == (*size, 3)
        assert np.isfinite(found).all()


def test_scale_one_alone_changes_nothing(unet):
    picture = image(40, 44)
    plain = kseg.predict(unet, picture, output="logits")
    for scales in (1, (1,), [1.0], np.array([1])):
        np.testing.assert_array_equal(kseg.predict(unet, picture, scales=scales, output="logits"), plain)


def test_batches_rows_and_files(unet, tmp_path):
    from PIL import Image

    pictures = np.stack([image(40, 44, seed=n) for n in range(2)])
    options = {"scales": (0.5, 1), "flips": "vertical"}
    expected = [kseg.predict(unet, one, **options) for one in pictures]
    np.testing.assert_array_equal(kseg.predict(unet, pictures, **options), expected)
    rows = [part for _, part in predict_rows(unet, pictures[0], **options)]
    np.testing.assert_array_equal(np.concatenate(rows), expected[0])
    Image.fromarray(pictures[1][..., 0]).save(tmp_path / "a.png")
    (result,) = predict_files(unet, tmp_path / "a.png", tmp_path / "out", **options)
    np.testing.assert_array_equal(np.asarray(Image.open(result.classes)), expected[1])


# Geometry


@pytest.mark.parametrize("scale", [0.3, 0.5, 0.75, 1.25, 2])
@pytest.mark.parametrize(("stride", "radius"), [(1, 0), (4, 13), (16, 40)])
def test_parts_lie_on_the_pooling_grid_and_reach_far_enough(scale, stride, radius):
    for length in (1, 30, 257, 1003):
        tiles = plan_axis(length, 160, radius, stride=stride, radius=radius)
        axis = plan_scaled_axis(tiles, scale, stride=stride, radius=radius)
        assert axis.length == max(1, round(length * scale))
        assert axis.part_in % stride == axis.length % stride, "the model pads a part unlike the rescaled image"
        for index, start in enumerate(axis.starts):
            assert start % stride == 0
            assert 0 <= start <= axis.length - axis.part_in
            first = tiles.starts[index] + (radius if index else 0)
            last = tiles.starts[index] + tiles.tile_out - (radius if index + 1 < len(tiles) else 0)
            # Result pixel p lies at (p + 0.5) * scale - 0.5, between two rescaled ones.
            ratio = axis.length / length
            assert start <= max(0, np.floor((first + 0.5) * ratio - 0.5) - radius)
            assert start + axis.part_in >= min(axis.length, np.floor((last - 0.5) * ratio - 0.5) + 2 + radius)


def test_parts_are_no_larger_than_they_must_be():
    tiles = plan_axis(4096, 512, 32, stride=16, radius=32)
    for scale in (0.5, 1, 2):
        axis = plan_scaled_axis(tiles, scale, stride=16, radius=32)
        # The tile without its discarded edges, a radius on either side, and at most a stride for each of two roundings.
        assert axis.part_in <= (512 - 64) * scale + 2 * 32 + 2 * 16 + 2


# Memory


def test_memory_does_not_grow_with_scales_or_image():
    classes, width, tile = 8, 256, 128
    model = toy_models.pointwise(channels=1, num_classes=classes)

    def peak(height, scales):
        picture, out = np.zeros((height, width), np.uint8), np.empty((height, width), np.uint8)
        tracemalloc.start()
        try:
            kseg.predict(model, picture, tile=tile, overlap=8, batch_size=1, out=out, scales=scales, flips="horizontal")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(200, (1, 1.5))  # traced before memory is counted
    quarter = 2**18
    few = peak(512, (1, 1.5))
    assert peak(512, (1, 0.5, 0.75, 1.25, 1.4, 0.8, 1.5)) < few + quarter
    assert peak(4096, (1, 1.5)) < few + quarter
    assert few < 4096 * width * classes * 4 / 3  # of the scores of that image


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, r"scales must be numbers above 0 and at most 16, such as \(0\.5, 1, 1\.5\); got \(\)"),
        ({"scales": (0, 1)}, r"scales must be numbers above 0 .*got \(0, 1\)"),
        ({"scales": (1, 17)}, r"scales must be .*at most 16.*got \(1, 17\)"),
        ({"scales": (1, float("nan"))}, "scales must be numbers above 0"),
        ({"scales": "0.5"}, "scales must be numbers above 0 .*got '0.5'"),
        ({"scales": None}, "scales must be numbers above 0 .*got None"),
        ({"scales": (True,)}, "scales must be numbers above 0"),
        ({"scales": (1, 0.5, 1.0)}, r"scales must be different: .*got \(1, 0\.5, 1\.0\)"),
        ({"scales": (1, 0.5), "output": "logits"}, "output='logits' cannot be had with tta, flips or scales"),
        ({"flips": "both", "output": "logits"}, "output='logits' cannot be had with tta, flips or scales"),
        ({"flips": "left"}, 'flips must be None, "horizontal", "vertical" or "both"; got \'left\''),
        ({"flips": "both", "tta": "dihedral"}, "tta='dihedral' contains flips already: pass tta or flips='both', not"),
    ],
)
def test_options_that_cannot_be(unet, options, message):
    with pytest.raises(ValueError, match=message):
        kseg.predict(unet, image(20, 20), **options)


def test_names_of_flips_and_scales():
    assert symmetries(False, True) == symmetries(True) == FLIPS
    assert symmetries(False, False) == (IDENTITY,)
    assert checked_scales(0.5) == (0.5,)
    assert checked_scales([1, np.float32(0.5)]) == (1.0, 0.5)


@pytest.mark.parametrize("size", [(32, 48), (32, None)])
def test_models_of_fixed_size_refuse_scales(size):
    model = toy_models.encoder_decoder(input_size=size)
    with pytest.raises(
        ValueError,
        match=r"scales=\(0\.5, 1\.0\) need a model that takes images of any size, but this one only takes \(32",
    ):
        kseg.predict(model, image(32, 48, 3), scales=(0.5, 1))
    kseg.predict(model, image(32, 48, 3), scales=1, flips="both")


def test_models_that_need_multiples_say_at_which_scale():
    model = toy_models.encoder_decoder(channels=1)
    kseg.predict(model, image(40, 40), scales=(0.5, 1))
    with pytest.raises(
        ValueError, match=r"the model failed at scale 0\.55, on parts of 22x22 pixels .* of the image at 22x22\. Models"
    ):
        kseg.predict(model, image(40, 40), scales=(0.55, 1))
