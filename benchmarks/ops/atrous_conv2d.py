"""Dense atrous convolution with scale, offset and ReLU against stock TensorFlow, and where it overtakes that."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks import limits
from benchmarks.harness import Row, Timer
from kseg_ops import _library

# Size of the map, channels, filters, rates: DeepLabV3's branches, and a decoder's.
CASES = ((33, 2048, 256, (6, 12, 18)), (64, 256, 256, (1, 6, 12, 18)))
# Size of the map, channels and filters on both sides of the crossover; below 2048 channels the stock operation runs.
CROSSOVER = ((64, 32, 32), (64, 128, 128), (64, 256, 256), (33, 1024, 256), (33, 2048, 256))

STOCK = "tf.nn.conv2d with dilations"
SHUFFLING = "tf.nn.convolution (Keras's Conv2D)"


def run(timer: Timer) -> list[Row]:
    """Forward, forward + backward (without scale and offset, as in training), and both sides of the crossover.

    The bar of "never slower" is 0.95: where the stock operation runs on both sides, a ratio is 1 but for noise.
    """
    rows = []
    for size, channels, filters, rates in CASES:
        for rate in rates:
            arrays = _arrays(size, channels, filters)
            operations = 2.0 * (size + 2 * max(0, size - rate)) ** 2 * channels * filters
            what = f"{size}x{size}x{channels} -> {filters}, rate {rate}"
            calls = {name: _calls(function, arrays, rate) for name, function in FORMS.items()}
            forward = {STOCK: calls[STOCK][0], SHUFFLING: calls[SHUFFLING][0], **limits.multiplying(operations)}
            rows.append(timer.compare(f"atrous_conv2d forward, {what}", calls[""][0], forward, bars={STOCK: 0.95}))
            both = {STOCK: calls[STOCK][1], SHUFFLING: calls[SHUFFLING][1], **limits.multiplying(3 * operations)}
            rows.append(
                timer.compare(f"atrous_conv2d forward + backward, {what}", calls[""][1], both, bars={STOCK: 0.95})
            )
    if _library.native_op("atrous_conv2d") is not None:
        for size, channels, filters in CROSSOVER:
            arrays = _arrays(size, channels, filters)
            compiled = _calls(_compiled, arrays, 2)[0]
            stock = {STOCK: _calls(_stock, arrays, 2)[0]}
            what = f"{size}x{size}x{channels} -> {filters}, rate 2"
            rows.append(timer.compare(f"atrous_conv2d, the compiled op itself, {what}", compiled, stock))
    return rows


def _arrays(size: int, channels: int, filters: int) -> list[tf.Tensor]:
    generator = np.random.default_rng(1)
    arrays = [
        generator.standard_normal((1, size, size, channels)),
        generator.standard_normal((3, 3, channels, filters)) / np.sqrt(9 * channels),
        generator.uniform(0.5, 1.5, filters),
        generator.standard_normal(filters),
    ]
    return [tf.constant(array.astype(np.float32)) for array in arrays]


def _ours(x, filters, scale, offset, rate):
    activation = None if scale is None else "relu"
    return kseg_ops.atrous_conv2d(x, filters, rate, scale=scale, offset=offset, activation=activation)


def _compiled(x, filters, scale, offset, rate):
    """Also where the public function would pick the stock operation."""
    op = _library.native_op("atrous_conv2d")
    return op(x=x, filters=filters, scale=scale, offset=offset, rate=(rate, rate), activation="relu")


def _stock(x, filters, scale, offset, rate):
    return _finished(tf.nn.conv2d(x, filters, 1, "SAME", dilations=rate), scale, offset)


def _shuffling(x, filters, scale, offset, rate):
    return _finished(tf.nn.convolution(x, filters, padding="SAME", dilations=[rate, rate]), scale, offset)


def _finished(values, scale, offset):
    return values if scale is None else tf.nn.relu(values * scale + offset)


FORMS = {"": _ours, STOCK: _stock, SHUFFLING: _shuffling}


def _calls(function: Callable, arrays: list[tf.Tensor], rate: int) -> tuple[Callable, Callable]:
    upstream = tf.random.stateless_normal((*arrays[0].shape[:3], arrays[1].shape[3]), (1, 2))

    @tf.function
    def forward(arrays):
        return function(*arrays, rate)

    @tf.function
    def both(x, filters, upstream):
        with tf.GradientTape() as tape:
            tape.watch([x, filters])
            result = function(x, filters, None, None, rate)
        return result, tape.gradient(result, [x, filters], upstream)

    return lambda: forward(arrays), lambda: both(*arrays[:2], upstream)
