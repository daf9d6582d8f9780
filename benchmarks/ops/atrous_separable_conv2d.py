"""Atrous separable convolution with affine maps and ReLU after both halves, against the graph of stock TensorFlow.

The rows over rate, size, channels and filters show how the advantage moves: it shrinks without dilation, where
TensorFlow rearranges nothing. Beside each stands the pointwise matrix product alone, as TensorFlow computes it: the
limit by arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks.harness import Row, Timer

STOCK = "depthwise_conv2d, affine, relu, conv2d 1x1, affine, relu"
PRODUCT = "limit: tf.matmul of the pointwise half"

# (height and width, channels, filters, rate), and the bar: times faster than stock TensorFlow.
CASES = (
    ((64, 2048, 256, 12), 2.0),
    ((33, 2048, 256, 12), 2.5),
    ((33, 2048, 256, 6), None),
    ((33, 2048, 256, 1), None),
    ((64, 2048, 256, 1), None),
    ((128, 304, 256, 1), None),
    ((33, 320, 256, 12), None),
    ((64, 64, 64, 2), None),
    ((128, 32, 64, 1), None),
    ((64, 16, 16, 2), None),
    ((64, 256, 4, 6), None),
    ((16, 16, 4, 1), None),
)
BACKWARD_CASES = ((33, 2048, 256, 12), (64, 256, 256, 12), (64, 256, 256, 1))
# The pointwise half alone may take up to 1.2 times less.
SHARE_OF_LIMIT = 1 / 1.2


def run(timer: Timer) -> list[Row]:
    """Times every case."""
    rows = []
    for (size, channels, filters, rate), bar in CASES:
        given = _inputs(size, channels, filters)
        ours, stock = _both(_ours, rate), _both(_stock, rate)
        flat, matrix = tf.reshape(given[0], [-1, channels]), given[2][0, 0]
        rows.append(
            timer.compare(
                f"atrous_separable_conv2d, {size}x{size}x{channels} -> {filters}, rate {rate}",
                _bind(ours[0], *given),
                {STOCK: _bind(stock[0], *given), PRODUCT: _bind(_product, flat, matrix)},
                bars={} if bar is None else {STOCK: bar, PRODUCT: SHARE_OF_LIMIT},
            )
        )
    for size, channels, filters, rate in BACKWARD_CASES:
        given = _inputs(size, channels, filters)
        gradient = tf.random.stateless_normal([1, size, size, filters], [1, 2])
        rows.append(
            timer.compare(
                f"atrous_separable_conv2d forward + backward, {size}x{size}x{channels} -> {filters}, rate {rate}",
                _bind(_both(_ours, rate)[1], gradient, *given),
                {STOCK: _bind(_both(_stock, rate)[1], gradient, *given)},
                bars={STOCK: 1.0},
            )
        )
    return rows


def _inputs(size: int, channels: int, filters: int) -> list[tf.Tensor]:
    generator = np.random.default_rng(0)
    shapes = (
        (1, size, size, channels),
        (3, 3, channels, 1),
        (1, 1, channels, filters),
        *((channels,), (channels,), (filters,), (filters,)),
    )
    return [tf.constant(generator.standard_normal(shape, np.float32)) for shape in shapes]


def _ours(x, depthwise, pointwise, scale1, offset1, scale2, offset2, rate):
    return kseg_ops.atrous_separable_conv2d(
        x, depthwise, pointwise, rate, scale1, offset1, "relu", scale=scale2, offset=offset2, activation="relu"
    )


def _stock(x, depthwise, pointwise, scale1, offset1, scale2, offset2, rate):
    middle = tf.nn.depthwise_conv2d(x, depthwise, [1, 1, 1, 1], "SAME", dilations=[rate, rate])
    middle = tf.nn.relu(middle * scale1 + offset1)
    return tf.nn.relu(tf.nn.conv2d(middle, pointwise, 1, "SAME") * scale2 + offset2)


@tf.function
def _product(x, matrix):
    return tf.matmul(x, matrix)


def _both(convolution: Callable, rate: int) -> tuple[Callable, Callable]:
    @tf.function
    def forward(*args):
        return convolution(*args, rate)

    @tf.function
    def both(gradient, *args):
        with tf.GradientTape() as tape:
            tape.watch(args)
            result = convolution(*args, rate)
        return result, tape.gradient(result, args, gradient)

    return forward, both


def _bind(function: Callable, *args) -> Callable:
    return lambda: function(*args)
