"""The layers that decoders are made of: resizing, steps up, pyramid pooling, attention gates."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg.layers import AttentionGate, PyramidPooling, ResizeTo, SkipUpBlock
from tests.helpers.layer_checks import check_layer

EPS = np.finfo("float32").eps


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def row(*values):
    return np.array(values, "float32").reshape(1, 1, -1, 1)


@pytest.mark.parametrize(
    ("interpolation", "expected"),
    [
        ("nearest", [0, 0, 6, 6, 12]),  # pixels floor(i * 3 / 5)
        ("align_corners", [0, 3, 6, 9, 12]),  # read at i * 2 / 4
        ("bilinear", [0, 2.4, 6, 9.6, 12]),  # read at (i + 0.5) * 3 / 5 - 0.5, clipped to the map
    ],
)
def test_resizing_by_hand(interpolation, expected):
    resized = ResizeTo(interpolation)([row(0, 6, 12), np.zeros((1, 1, 5, 9))])
    # Weights are rounded once, and multiply 12 at most.
    np.testing.assert_allclose(np.ravel(resized), expected, atol=4 * 12 * EPS)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "align_corners"])
@pytest.mark.parametrize("size", [(7, 12), (4, 3), (1, 1)])
def test_resizing_everywhere(interpolation, size):
    check_layer(
        lambda **kw: ResizeTo(interpolation, **kw), [(2, 4, 3, 5), (2, *size, 1)], (2, *size, 5), trainable=False
    )


def test_resizing_leaves_the_reference_alone_and_equal_sizes_untouched():
    x = normal(1, 3, 4, 2)
    np.testing.assert_array_equal(ResizeTo("bilinear")([x, np.full((1, 3, 4, 1), np.nan)]), x)


def test_interpolation_error():
    with pytest.raises(ValueError, match=r"interpolation must be .* got 'cubic'"):
        ResizeTo("cubic")


@pytest.mark.parametrize(
    ("make", "shapes", "weights"),
    [
        # 3 x 3 kernels over the joined channels, then over 4, and a scale and a shift per channel each
        (lambda **kw: SkipUpBlock(4, **kw), [(2, 3, 2, 5), (2, 5, 5, 3)], 9 * 8 * 4 + 9 * 16 + 16),
        (lambda **kw: SkipUpBlock(4, **kw), [(2, 3, 2, 5), (2, 5, 5, 3), (2, 5, 5, 2)], 9 * 10 * 4 + 9 * 16 + 16),
        (lambda **kw: SkipUpBlock(4, norm=None, **kw), [(2, 3, 2, 5), (2, 5, 5, 3)], 9 * 8 * 4 + 9 * 16 + 8),
        (lambda **kw: SkipUpBlock(4, join=False, activation="silu", **kw), [(2, 3, 2, 5), (2, 5, 5, 3)], 9 * 36 + 16),
    ],
    ids=["skip", "two skips", "no norm", "no skip"],
)
def test_skip_up_block(make, shapes, weights):
    check_layer(make, shapes, (2, 5, 5, 4), weights=weights)


def test_skip_up_block_joins_the_features_in_front():
    """A first kernel that passes one channel through, and a second that passes it on."""
    block = SkipUpBlock(1, norm=None, activation=None)
    deep, skip = row(1, 2), row(10, 20, 30)
    block([deep, skip])
    for channel, expected in ((0, [1, 1, 2]), (1, [10, 20, 30])):
        kernel = np.zeros((3, 3, 2, 1))
        kernel[1, 1, channel] = 1
        block.conv1.kernel.assign(kernel)
        block.conv2.kernel.assign(kernel[:, :, channel : channel + 1])
        np.testing.assert_array_equal(np.ravel(block([deep, skip])), expected)


def test_pyramid_pooling():
    weights = 2 * (8 * 4) + 4 + 8 + (2 * 4 + 8) * 6 + 12  # the 1 x 1 grid has a bias, 3 x 3 and projection have norms
    check_layer(lambda **kw: PyramidPooling(6, (1, 3), **kw), (2, 7, 5, 8), (2, 7, 5, 6), weights=weights)
    check_layer(lambda **kw: PyramidPooling(6, [2], norm=None, activation="silu", **kw), (1, 1, 3, 4), (1, 1, 3, 6))


def pooled(x, bins):
    """Averages over bins, and those by loops."""
    batch, height, width, channels = x.shape
    grid = np.zeros((batch, bins, bins, channels))
    for i in range(bins):
        for j in range(bins):
            rows = slice(int(np.floor(i * height / bins)), int(np.ceil((i + 1) * height / bins)))
            columns = slice(int(np.floor(j * width / bins)), int(np.ceil((j + 1) * width / bins)))
            grid[:, i, j] = x[:, rows, columns].mean((1, 2))
    return grid


def stretched(grid, height, width):
    """Bilinear interpolation between corners that stay corners, pixel by pixel."""
    bins = grid.shape[1]
    out = np.zeros((grid.shape[0], height, width, grid.shape[3]))
    for y in range(height):
        for x in range(width):
            v, u = (at * (bins - 1) / max(size - 1, 1) for at, size in ((y, height), (x, width)))
            top, left = int(v), int(u)
            below, right = min(top + 1, bins - 1), min(left + 1, bins - 1)
            upper = grid[:, top, left] * (1 - u + left) + grid[:, top, right] * (u - left)
            lower = grid[:, below, left] * (1 - u + left) + grid[:, below, right] * (u - left)
            out[:, y, x] = upper * (1 - v + top) + lower * (v - top)
    return out


@pytest.mark.parametrize(
    ("size", "training"),
    [((12, 6), False), ((12, 6), True), ((7, 11), False), ((7, 11), True), ((2, 5), False), ((1, 1), False)],
)
def test_pyramid_pooling_against_loops(size, training):
    """The published order: average, convolve, resize, join in front of the map, project."""
    sizes = (1, 2, 3, 6)
    layer = PyramidPooling(5, sizes, norm="batch", activation="linear")
    x = normal(2, *size, 8)
    layer(x)
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        draw = rng.uniform(0.5, 2, weight.shape) if "variance" in weight.name else rng.normal(size=weight.shape)
        weight.assign(draw)
    parts = []
    for bins, block in zip(sizes, layer.blocks, strict=True):
        grid = block(pooled(x.astype("float64"), bins).astype("float32"), training=training)
        parts.append(stretched(np.asarray(grid, "float64"), *size))
    expected = layer.projection(np.concatenate([*parts, x], axis=-1).astype("float32"), training=training)
    # Sums of 8 and 16 products and of up to 4 interpolated values, each side rounding each once or twice; values up to
    # 4 standard deviations, a normalisation in between that divides by 0.7 at least (in training by the deviation).
    largest = max(np.abs(part).max() for part in (*parts, x))
    bound = 2 * (8 + 16 + 8 + 6) * EPS * largest * 16 * 4 * 4
    np.testing.assert_allclose(layer(x, training=training), expected, rtol=0, atol=bound)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PyramidPooling(4, 3), r"sizes must be a list of positive ints, for example \(1, 2, 3, 6\); got 3"),
        (lambda: PyramidPooling(4, (1, 0)), "sizes must be a list of positive ints"),
        (lambda: PyramidPooling(4)(normal(1, 3, 3, 2)), "at least as many channels as there are sizes, 4; got 2"),
        (lambda: AttentionGate(0), "filters must be a positive int, or None for those of the skip; got 0"),
    ],
)
def test_argument_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("size", [(6, 4), (5, 7), (1, 1)])
def test_attention_gate(size):
    weights = 4 * 6 * 3 + (5 * 3 + 3) + (3 + 1) + 36 + 12  # theta, phi, psi, projection and its normalisation
    check_layer(lambda **kw: AttentionGate(3, **kw), [(2, *size, 6), (2, 3, 2, 5)], (2, *size, 6), weights=weights)


def test_attention_gate_by_hand():
    """One channel; the mean of each 2 x 2 block and the gate decide."""
    gate = AttentionGate()
    skip = np.array([[1, 3, 0, 0], [5, 7, 0, 0]], "float32").reshape(1, 2, 4, 1)
    signal = row(-1, 2)
    gate([skip, signal])
    gate.theta.kernel.assign(np.full((2, 2, 1, 1), 0.25))
    gate.phi.kernel.assign(np.full((1, 1, 1, 1), 2.0))
    gate.psi.kernel.assign(np.full((1, 1, 1, 1), 0.5))
    gate.psi.bias.assign([-1.0])
    gate.projection.kernel.assign(np.ones((1, 1, 1, 1)))
    left, right = (1 / (1 + np.exp(-value)) for value in (0.5 * (4 - 2) - 1, 0.5 * (0 + 4) - 1))
    columns = np.array([left, 0.75 * left + 0.25 * right, 0, 0])  # bilinear from 2 columns to 4; the rest is times 0
    expected = skip[0, :, :, 0] * columns / np.sqrt(1 + gate.norm_epsilon)
    np.testing.assert_allclose(gate([skip, signal])[0, :, :, 0], expected, rtol=20 * EPS)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "align_corners"])
@pytest.mark.parametrize(("source", "size"), [(5, 9), (4, 16), (5, 17), (1, 4), (4, 1)])
def test_resizing_in_xla(interpolation, source, size):
    """TensorFlow's own op gives other values there for some of these sizes."""
    layer = ResizeTo(interpolation)
    inputs = [tf.constant(normal(1, source, source, 2)), tf.zeros((1, size, size, 1))]
    plain = layer(inputs)
    with kseg_ops.use_reference():
        compiled = tf.function(layer, jit_compile=True)(inputs)
    # TensorFlow rounds positions of 16 at most in float32, twice; values differ by 6 standard deviations at most.
    np.testing.assert_allclose(compiled, plain, rtol=0, atol=4 * 16 * 6 * EPS)


@pytest.mark.parametrize(("source", "size"), [(4, 8), (5, 17), (4, 3)])
def test_repeated_pixels_have_a_gradient_in_xla(source, size):
    """TensorFlow's own op has none there."""
    layer = ResizeTo("nearest")
    features, reference = tf.constant(normal(1, source, source, 2)), tf.zeros((1, size, size, 1))
    direction = tf.constant(normal(1, size, size, 2, seed=1))

    def gradient(features):
        with tf.GradientTape() as tape:
            tape.watch(features)
            total = tf.reduce_sum(layer([features, reference]) * direction)
        return tape.gradient(total, features)

    with kseg_ops.use_reference():
        compiled = tf.function(gradient, jit_compile=True)(features)
    # Sums of 16 values of 4 standard deviations at most.
    np.testing.assert_allclose(compiled, gradient(features), rtol=0, atol=16 * 16 * 4 * EPS)


def test_layers_run_in_xla():
    x, skip = normal(1, 4, 5, 8), normal(1, 7, 9, 3)
    for layer, inputs in ((PyramidPooling(4, (1, 2)), x), (SkipUpBlock(4), [x, skip]), (AttentionGate(), [skip, x])):
        plain = layer(inputs)
        with kseg_ops.use_reference():
            assert type(layer)(*([4] if isinstance(layer, SkipUpBlock) else [])).supports_jit
            compiled = tf.function(layer, jit_compile=True)(inputs)
        # Two convolutions at most of 99 and 36 terms, each side rounding each; values of 4 standard deviations.
        np.testing.assert_allclose(compiled, plain, rtol=0, atol=2 * (99 + 36) * EPS * 36)
