"""The building blocks, each on its own and in a plain Keras model."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kseg.layers import ConvBlock, ConvNorm2D, CropTo, DownBlock, Normalize, PadToStride, UpBlock
from tests.helpers.layer_checks import check_layer, check_saved


@pytest.mark.parametrize("norm", ["batch", "group", None])
def test_conv_block(norm):
    # 3x3x3x6 + 3x3x6x6 kernels; two biases of 6, or two scales and shifts.
    expected = 3 * 3 * 3 * 6 + 3 * 3 * 6 * 6 + (2 * 6 if norm is None else 4 * 6)
    check_layer(lambda **kw: ConvBlock(6, norm=norm, dropout=0.2, **kw), (2, 7, 5, 3), (2, 7, 5, 6), weights=expected)


def test_conv_block_valid_takes_two_pixels_per_convolution():
    check_layer(lambda **kw: ConvBlock(4, padding="valid", activation="gelu", **kw), (1, 9, 8, 2), (1, 5, 4, 4))


@pytest.mark.parametrize(
    ("options", "sizes"),
    [({}, (7, 6)), ({"strides": 2}, (4, 3)), ({"rate": 3, "kernel_size": (3, 5)}, (7, 6))],
)
@pytest.mark.parametrize("norm", ["batch", None])
def test_conv_norm2d(options, sizes, norm):
    check_layer(lambda **kw: ConvNorm2D(6, norm=norm, **options, **kw), (2, 7, 6, 4), (2, *sizes, 6))


def test_conv_norm2d_pads_both_sides_alike():
    """With weights of 1 and stride 2 the first window of an even axis holds 2 pixels, the last 3."""
    layer = ConvNorm2D(1, strides=2, norm=None, activation=None, kernel_initializer="ones")
    np.testing.assert_array_equal(layer(np.ones((1, 1, 4, 1)))[0, 0, :, 0], [2, 3])


def test_conv_norm2d_folds_its_normalisation():
    layer = ConvNorm2D(5, use_bias=True, activation=None, norm_epsilon=0.1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 4, 5, 3)).astype("float32")
    layer(x)
    layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.weights])
    plain = keras.layers.Conv2D(5, 3, padding="same")
    plain.build(x.shape)
    plain.set_weights([layer.kernel, layer.bias])
    np.testing.assert_allclose(layer(x), layer.batch_norm(plain(x)), rtol=1e-5, atol=1e-5)


def test_conv_norm2d_refuses():
    with pytest.raises(ValueError, match="kernel_size must be odd"):
        ConvNorm2D(4, 2)
    with pytest.raises(ValueError, match="strides must be a positive int; got 0"):
        ConvNorm2D(4, strides=0)
    with pytest.raises(ValueError, match="rate=2 needs strides=1; got strides=2"):
        ConvNorm2D(4, strides=2, rate=2)


def test_down_block():
    check_layer(lambda **kw: DownBlock(6, **kw), (2, 9, 6, 3), (2, 4, 3, 6))


@pytest.mark.parametrize("upsampling", ["transpose", "bilinear"])
def test_up_block(upsampling):
    kernel = 4 if upsampling == "transpose" else 1
    expected = kernel * 8 * 6 + 6 + 3 * 3 * 10 * 6 + 6 + 3 * 3 * 6 * 6 + 6
    check_layer(
        lambda **kw: UpBlock(6, upsampling=upsampling, norm=None, **kw),
        [(2, 3, 4, 8), (2, 7, 8, 4)],
        (2, 6, 8, 6),
        weights=expected,
    )


def test_up_block_joins_skip_first_and_crops_it():
    """With weights that copy one channel, the output is the cropped skip."""
    layer = UpBlock(1, norm=None, activation="linear", skip_offset=1)
    features, skip = np.zeros((1, 2, 2, 1), "float32"), np.arange(36, dtype="float32").reshape(1, 6, 6, 1)
    layer([features, skip])
    copy = np.zeros((3, 3, 2, 1))
    copy[1, 1, 0, 0] = 1
    identity = np.zeros((3, 3, 1, 1))
    identity[1, 1, 0, 0] = 1
    layer.block.set_weights([copy, np.zeros(1), identity, np.zeros(1)])
    np.testing.assert_array_equal(layer([features, skip])[0, ..., 0], skip[0, 1:5, 1:5, 0])


def test_pad_to_stride():
    check_layer(lambda **kw: PadToStride(4, **kw), (2, 5, 8, 3), (2, 8, 8, 3), trainable=False)
    padded = PadToStride(4)(np.arange(5, dtype="float32").reshape(1, 1, 5, 1))
    np.testing.assert_array_equal(padded[0, :, :, 0], [[0, 1, 2, 3, 4, 4, 4, 4]] * 4)


def test_crop_to_undoes_pad_to_stride():
    image = np.random.default_rng(0).normal(size=(2, 5, 3, 2)).astype("float32")
    np.testing.assert_array_equal(CropTo(0)([PadToStride(8)(image), image]), image)


def test_crop_to():
    check_layer(lambda **kw: CropTo(**kw), [(2, 7, 6, 3), (2, 4, 4, 1)], (2, 4, 4, 3), trainable=False)
    rows = np.arange(7, dtype="float32").reshape(1, 7, 1, 1)
    reference = np.zeros((1, 4, 1, 1), "float32")
    np.testing.assert_array_equal(CropTo()([rows, reference])[0, :, 0, 0], [1, 2, 3, 4])
    np.testing.assert_array_equal(CropTo(offset=0)([rows, reference])[0, :, 0, 0], [0, 1, 2, 3])


def test_normalize():
    check_layer(lambda **kw: Normalize((0, 1000), **kw), (2, 3, 4, 2), (2, 3, 4, 2), trainable=False)
    np.testing.assert_array_equal(Normalize()(np.array([[0, 255]], "uint8")), [[-1, 1]])
    np.testing.assert_array_equal(Normalize((0, 10), (0, 1))(np.array([[5.0]])), [[0.5]])


def test_normalize_keeps_sixteen_bits_apart_under_mixed_precision():
    """40000 and 40100 are one number in bfloat16; their normalised difference, 0.003 near 0.22, is two."""
    outputs = np.asarray(Normalize((0, 65535), dtype="mixed_bfloat16")(np.array([[40000, 40100]], "uint16")), "float32")
    assert outputs[0, 0] != outputs[0, 1]


def test_layers_ignore_each_others_initializers():
    block = ConvBlock(3, norm=None, kernel_initializer=keras.initializers.HeNormal())
    block.build((None, None, None, 3))
    first, _, second, _ = block.get_weights()
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvBlock(0), "filters must be a positive int; got 0"),
        (lambda: ConvBlock(4, norm="layer"), 'norm must be "batch", "group" or None; got \'layer\''),
        (lambda: ConvBlock(4, dropout=1.0), r"dropout must be a rate in \[0, 1\); got 1.0"),
        (lambda: ConvBlock(4, padding="full"), 'padding must be "same" or "valid"; got \'full\''),
        (lambda: ConvBlock(4, repeats=0), "repeats must be at least 1; got 0"),
        (lambda: UpBlock(4, upsampling="nearest"), 'upsampling must be "transpose" or "bilinear"; got \'nearest\''),
        (lambda: PadToStride(0), "stride must be a positive int; got 0"),
        (lambda: CropTo("top"), "offset must be \"center\" or an int of at least 0; got 'top'"),
        (
            lambda: CropTo()([np.zeros((1, 4, 4, 1)), np.zeros((1, 5, 4, 1))]),
            "cannot cut 5 pixels out of 4 along the h",
        ),
        (lambda: Normalize((1, 1)), r"input_range must be two increasing numbers \(low, high\)"),
        (lambda: Normalize(7), "input_range must be two increasing numbers"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_blocks_in_a_plain_functional_model(tmp_path):
    """The blocks need nothing of kseg's models: built, trained a step, saved and loaded by Keras alone."""
    images = keras.Input((None, None, 2))
    padded = PadToStride(2)(Normalize((0, 255))(images))
    skip = ConvBlock(4)(padded)
    features = UpBlock(4, upsampling="bilinear", norm="group")([DownBlock(8)(skip), skip])
    logits = CropTo(0)([keras.layers.Conv2D(3, 1)(features), images])
    model = keras.Model(images, logits)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (4, 9, 7, 2)).astype("float32"), rng.integers(0, 3, (4, 9, 7))
    before = [np.array(weight) for weight in model.trainable_weights]
    history = model.fit(x, y, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    moved = [not np.array_equal(a, b) for a, b in zip(before, model.trainable_weights, strict=True)]
    assert moved
    assert all(moved)
    check_saved(model, x, tmp_path / "plain.keras")


def test_normalize_with_statistics():
    layer = Normalize((0, 255), (0, 1), mean=(0.5, 0.25), std=(0.5, 2.0))
    np.testing.assert_allclose(layer(np.array([[255, 0]], "uint8")), [[1.0, -0.125]])
    with pytest.raises(ValueError, match="mean must have one number per channel of the images, 3"):
        Normalize(mean=(0.5, 0.25))(np.zeros((1, 2, 2, 3)))
    with pytest.raises(ValueError, match="std must be positive"):
        Normalize(std=(1.0, 0.0))
    with pytest.raises(ValueError, match="mean must be a finite number per channel"):
        Normalize(mean=0.5)
