"""What `ConvNorm2D` asks of TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kseg.layers import ConvNorm2D


@pytest.mark.parametrize("size", [(1, 1), (5, 8), (10, 12)])
@pytest.mark.parametrize("strides", [2, 3])
def test_one_by_one_with_strides(size, strides):
    layer = ConvNorm2D(4, 1, strides=strides, norm=None, activation=None)
    images = tf.random.stateless_normal([2, *size, 3], [1, 2])
    expected = tf.nn.conv2d(images, tf.ones([1, 1, 3, 4]), strides, "SAME")
    layer.build(images.shape)
    layer.kernel.assign(tf.ones([1, 1, 3, 4]))
    assert layer.compute_output_shape(images.shape) == tuple(expected.shape)
    np.testing.assert_allclose(layer(images), expected, atol=3 * np.finfo(np.float32).eps * np.abs(images).max() * 3)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_no_one_by_one_convolution_strides(kernel_size):
    """TensorFlow with oneDNN writes beyond a buffer in the backward pass of those."""
    layer = ConvNorm2D(8, kernel_size, strides=2)
    layer.build((None, None, None, 4))

    @tf.function(input_signature=[tf.TensorSpec([1, 10, 12, 4])])
    def gradient(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(images, training=True) ** 2)
        return tape.gradient(loss, layer.kernel)

    operations = gradient.get_concrete_function().graph.get_operations()
    strides = {op.type: op.get_attr("strides")[1] for op in operations if op.type.startswith("Conv2D")}
    assert {"Conv2D", "Conv2DBackpropFilter"} <= strides.keys()
    assert set(strides.values()) == {1 if kernel_size == 1 else 2}
