"""Depthwise atrous convolution, forward and forward + backward, against stock TensorFlow.

The rows over rate, size and channels show where TensorFlow's own operation is the faster one: at rate 1 in float32,
where nothing is dilated and `kseg_ops.depthwise_atrous_conv2d` calls it. "the compiled op" in those rows is what is not
chosen. The copy of as many bytes as the convolution has to read and write is its limit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks.harness import Row, Timer
from kseg_ops import _library

STOCK = "tf.nn.depthwise_conv2d"
COPY = "limit: a copy of x"
COMPILED = "the compiled op"

# (height and width, channels, rate), and the bar on forward + backward.
CASES = (
    ((64, 256, 12), 2.0),
    ((64, 256, 6), None),
    ((64, 256, 2), None),
    ((64, 256, 1), None),
    ((64, 2048, 12), None),
    ((33, 2048, 12), None),
    ((33, 2048, 6), None),
    ((33, 320, 12), None),
    ((128, 32, 2), None),
    ((128, 32, 1), None),
    ((16, 16, 2), None),
)


def run(timer: Timer) -> list[Row]:
    """Times every case."""
    rows = []
    for (size, channels, rate), bar in CASES:
        generator = np.random.default_rng(0)
        x = tf.constant(generator.standard_normal((1, size, size, channels), np.float32))
        filters = tf.constant(generator.standard_normal((3, 3, channels, 1), np.float32))
        ours, stock = _both(_chosen, rate), _both(_stock, rate)
        what = f"{size}x{size}x{channels}, rate {rate}"
        forward = {STOCK: _bind(stock[0], x, filters), COPY: _bind(_copy, x)}
        backward = {STOCK: _bind(stock[1], x, filters, x)}
        if rate == 1 and _library.native_op("depthwise_atrous_conv2d") is not None:
            compiled = _both(_compiled, rate)
            forward[COMPILED] = _bind(compiled[0], x, filters)
            backward[COMPILED] = _bind(compiled[1], x, filters, x)
        rows.append(timer.compare(f"depthwise_atrous_conv2d forward, {what}", _bind(ours[0], x, filters), forward))
        rows.append(
            timer.compare(
                f"depthwise_atrous_conv2d forward + backward, {what}",
                _bind(ours[1], x, filters, x),
                backward,
                bars={} if bar is None else {STOCK: bar},
            )
        )
    return rows


def _chosen(x, filters, rate):
    return kseg_ops.depthwise_atrous_conv2d(x, filters, rate)


def _compiled(x, filters, rate):
    return _library.native_op("depthwise_atrous_conv2d")(x=x, filters=filters, rate=(rate, rate), padding="same")


def _stock(x, filters, rate):
    return tf.nn.depthwise_conv2d(x, filters, [1, 1, 1, 1], "SAME", dilations=[rate, rate])


@tf.function
def _copy(x):
    return tf.raw_ops.DeepCopy(x=x)


def _both(convolution: Callable, rate: int) -> tuple[Callable, Callable]:
    @tf.function
    def forward(x, filters):
        return convolution(x, filters, rate)

    @tf.function
    def both(x, filters, gradient):
        with tf.GradientTape() as tape:
            tape.watch([x, filters])
            result = convolution(x, filters, rate)
        return result, tape.gradient(result, [x, filters], gradient)

    return forward, both


def _bind(function: Callable, *args) -> Callable:
    return lambda: function(*args)
