"""The specification of `kseg_ops.aspp` in stock TensorFlow: the branches one by one, concatenated, and projected."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops.aspp_branch import AsppBranch
from kseg_ops.reference.atrous_conv2d import convolve, finish


def aspp(x: tf.Tensor, branches: list[AsppBranch], projection: AsppBranch, pooling: AsppBranch | None) -> tf.Tensor:
    """Arguments and result as for `kseg_ops.aspp`, already checked: rates are pairs, activations are names.

    Computes in float32 (float64 for float64) and rounds once. Compiles under XLA where shapes are static.
    """
    compute = tf.float64 if x.dtype == tf.float64 else tf.float32
    values = tf.cast(x, compute)
    parts = [_convolution(values, branch) for branch in branches]
    if pooling is not None:
        pooled = _convolution(tf.reduce_mean(values, axis=(1, 2), keepdims=True), pooling)
        # What resizing one pixel to the size of the map comes to.
        parts.append(tf.tile(pooled, [1, tf.shape(x)[1], tf.shape(x)[2], 1]))
    result = tf.cast(_convolution(tf.concat(parts, axis=-1), projection), x.dtype)
    result.set_shape([*x.shape[:3], projection.filters.shape[3]] if x.shape.rank == 4 else [None] * 4)
    return result


def _convolution(values: tf.Tensor, branch: AsppBranch) -> tf.Tensor:
    filters, rate = tf.cast(branch.filters, values.dtype), branch.rate
    if branch.depthwise is not None:
        values = _depthwise(values, tf.cast(branch.depthwise, values.dtype), rate)
        values = finish(values, branch.depthwise_scale, branch.depthwise_offset, branch.depthwise_activation)
        rate = (1, 1)
    return finish(convolve(values, filters, rate, "same"), branch.scale, branch.offset, branch.activation)


def _depthwise(values: tf.Tensor, filters: tf.Tensor, rate: tuple[int, int]) -> tf.Tensor:
    if values.shape.rank == 4 and 0 in values.shape[:3]:
        return values + tf.reduce_sum(filters)  # empty, with gradients of the right shapes
    result = tf.nn.depthwise_conv2d(values, filters, [1, 1, 1, 1], "SAME", dilations=rate)
    # An empty batch comes back with other sizes.
    return result if values.shape[:3].is_fully_defined() else tf.reshape(result, tf.shape(values))
