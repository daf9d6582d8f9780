"""A backbone of five convolutions."""

from __future__ import annotations

import keras

from kseg.backbones import Backbone
from kseg.layers import ConvNorm2D

CHANNELS = (4, 6, 8, 10, 12)  # of P1 to P5, all different so that a wrong level shows


@keras.saving.register_keras_serializable(package="kseg_tests")
class TinyBackbone(Backbone):
    """One convolution for each level.

    Args:
        input_shape: of the images.
        levels: the numbers of the levels that it gives.
        output_stride: the largest stride.
        name: of the model.
        **kwargs: `dtype`, which is not used, and `trainable`.
    """

    def __init__(
        self,
        input_shape=(None, None, 3),
        levels=(1, 2, 3, 4, 5),
        output_stride=32,
        name="backbone",
        dtype=None,
        **kwargs,
    ):
        images = features = keras.Input(input_shape)
        outputs, strides, stride = {}, {}, 1
        for level in range(1, max(levels) + 1):
            step = 2 if 2 * stride <= output_stride else 1
            stride *= step
            features = ConvNorm2D(CHANNELS[level - 1], 3, strides=step, activation="silu", name=f"conv{level}")(
                features
            )
            if level in levels:
                outputs[f"P{level}"], strides[f"P{level}"] = features, stride
        super().__init__(images, outputs, strides=strides, name=name, **kwargs)
        self.keep_arguments(input_shape=input_shape, levels=levels, output_stride=output_stride)
