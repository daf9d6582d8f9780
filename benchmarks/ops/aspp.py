"""Atrous spatial pyramid pooling at inference, against the same block of stock operations in graph mode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks import limits
from benchmarks.harness import Row, Timer
from kseg_ops import AsppBranch

# The block of DeepLabV3 at output stride 16 on an image of 513 x 513.
SHAPE, FILTERS, RATES = (1, 33, 33, 2048), 256, (6, 12, 18)

STOCK = "stock TensorFlow, conv2d with dilations"
BARS = {False: {STOCK: 1.0}, True: {STOCK: 2.0}}


def run(timer: Timer) -> list[Row]:
    """Times the dense and the separable block."""
    rows = []
    for separable in (False, True):
        generator = np.random.default_rng(1)
        x = tf.constant(generator.standard_normal(SHAPE, np.float32))
        weights = _weights(generator, separable)
        ours, stock = _graph(_ours, x, weights), _graph(_stock, x, weights)
        what = f"{'separable' if separable else 'dense'}, 33x33x2048 -> 256, rates 6/12/18"
        baselines = {STOCK: stock, **limits.multiplying(_operations(separable))}
        rows.append(timer.compare(f"aspp {what}", ours, baselines, bars=BARS[separable]))
    return rows


def taps_inside(size: int, rate: int) -> int:
    """Pairs of a pixel and one of three taps along an axis that do not lie in the padding."""
    return size + 2 * max(0, size - rate)


def _operations(separable: bool) -> float:
    _, height, width, channels = SHAPE
    pixels = height * width
    products = pixels * channels * FILTERS  # the branch of 1 x 1
    for rate in RATES:
        taps = taps_inside(height, rate) * taps_inside(width, rate)
        products += pixels * channels * FILTERS + taps * channels if separable else taps * channels * FILTERS
    products += pixels * (len(RATES) + 1) * FILTERS * FILTERS
    return 2.0 * products


def _weights(generator, separable: bool) -> dict:
    channels = SHAPE[3]

    def kernel(height, inputs, outputs, fan_in):
        values = generator.standard_normal((height, height, inputs, outputs), np.float32) / np.sqrt(fan_in)
        return tf.constant(values.astype(np.float32))

    def affine(size):
        return [
            tf.constant(values.astype(np.float32))
            for values in (generator.uniform(0.5, 1.5, size), generator.standard_normal(size) / 4)
        ]

    branches = [AsppBranch(kernel(1, channels, FILTERS, channels), *affine(FILTERS))]
    for rate in RATES:
        if separable:
            branch = AsppBranch(
                kernel(1, channels, FILTERS, channels),
                *affine(FILTERS),
                rate=rate,
                depthwise=kernel(3, channels, 1, 9),
                depthwise_scale=affine(channels)[0],
                depthwise_offset=affine(channels)[1],
                depthwise_activation="relu",
            )
        else:
            branch = AsppBranch(kernel(3, channels, FILTERS, 9 * channels), *affine(FILTERS), rate=rate)
        branches.append(branch)
    pooling = AsppBranch(kernel(1, channels, FILTERS, channels), *affine(FILTERS))
    total = (len(RATES) + 2) * FILTERS
    return {
        "branches": branches,
        "projection": AsppBranch(kernel(1, total, FILTERS, total), *affine(FILTERS)),
        "pooling": pooling,
    }


def _graph(block: Callable, x: tf.Tensor, weights: dict) -> Callable:
    """The block as a graph that is fed its weights, as a model with variables feeds them."""
    flat = tf.nest.flatten(weights)
    tensors = [value for value in flat if tf.is_tensor(value)]

    @tf.function
    def call(x, tensors):
        rest = iter(tensors)
        filled = [next(rest) if tf.is_tensor(value) else value for value in flat]
        return block(x, **tf.nest.pack_sequence_as(weights, filled))

    return lambda: call(x, tensors)


def _ours(x, branches, projection, pooling):
    return kseg_ops.aspp(x, branches, projection, pooling)


def _stock(x, branches, projection, pooling):
    """What one would write: convolutions, affine maps and ReLU, the mean tiled, everything concatenated."""
    parts = [_stock_convolution(x, branch) for branch in branches]
    pooled = _stock_convolution(tf.reduce_mean(x, (1, 2), keepdims=True), pooling)
    parts.append(tf.tile(pooled, [1, x.shape[1], x.shape[2], 1]))
    return _stock_convolution(tf.concat(parts, -1), projection)


def _stock_convolution(x, branch):
    rate = branch.rate
    if branch.depthwise is not None:
        x = tf.nn.depthwise_conv2d(x, branch.depthwise, [1, 1, 1, 1], "SAME", dilations=(rate, rate))
        x = tf.nn.relu(x * branch.depthwise_scale + branch.depthwise_offset)
        rate = 1
    x = tf.nn.conv2d(x, branch.filters, 1, "SAME", dilations=rate)
    return tf.nn.relu(x * branch.scale + branch.offset)
