"""The head of a region proposal network."""

from __future__ import annotations

import keras

from kseg.layers._boxes import check_count
from kseg.layers.conv_block import fresh_initializer
from kseg.layers.conv_norm2d import ConvNorm2D
from kseg_ops._pyramid import as_pyramid


@keras.saving.register_keras_serializable(package="kseg")
class RPNHead(keras.layers.Layer):
    """Whether there is an object at each anchor, and how to move the anchor onto it.

    `depth` 3 x 3 convolutions with ReLU, then two 1 x 1 convolutions; the weights are shared by all levels.

    Source: Ren et al. 2015, "Faster R-CNN", https://arxiv.org/abs/1506.01497, in torchvision's form.

    Args:
        anchors: how many each position has.
        depth: number of 3 x 3 convolutions, each with as many channels as the features have: 1, or 2 in torchvision's
            second form.
        kernel_initializer: as in Keras; None for the published Gaussian of standard deviation 0.01.
        **kwargs: `name`, `dtype`, `trainable`.

    Attributes:
        convolutions: the 3 x 3 ones, `ConvNorm2D`; empty before the layer is built.
        objectness, deltas: the 1 x 1 ones, `ConvNorm2D` in float32.

    Call arguments:
        inputs: a dict `{"P2": (B, h, w, C), ...}`, the features of all levels with as many channels.

    Returns:
        `(objectness, deltas)`: dicts by level of float32 logits `(B, h, w, anchors)` and of float32
        `(B, h, w, 4 * anchors)`, the shift of the centre and the logarithms of the factors of the size of one anchor
        after the other.

    Raises:
        ValueError: an argument outside its range; levels with unequal channels.

    Example:
        >>> pyramid = {"P2": keras.Input((None, None, 64)), "P3": keras.Input((None, None, 64))}
        >>> objectness, deltas = RPNHead(anchors=3)(pyramid)
    """

    def __init__(self, anchors=3, depth=1, kernel_initializer=None, **kwargs):
        super().__init__(**kwargs)
        check_count("anchors", anchors)
        check_count("depth", depth)
        self.anchors = anchors
        self.depth = depth
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.convolutions = []
        self.objectness = self._convolution("objectness", anchors, 1, None, "float32")
        self.deltas = self._convolution("deltas", 4 * anchors, 1, None, "float32")

    def _convolution(self, name, filters, kernel_size, activation, dtype):
        given = self.kernel_initializer
        initializer = keras.initializers.RandomNormal(stddev=0.01) if given is None else fresh_initializer(given)
        return ConvNorm2D(
            filters,
            kernel_size,
            norm=None,
            activation=activation,
            kernel_initializer=initializer,
            dtype=dtype,
            name=name,
        )

    def build(self, input_shape):
        shapes = list(as_pyramid(input_shape).values())
        channels = {shape[-1] for shape in shapes}
        if len(channels) > 1:
            raise ValueError(f"inputs must have equally many channels on every level; got {sorted(channels)}")
        filters = channels.pop()
        self.convolutions = [
            self._convolution(f"conv_{index}", filters, 3, "relu", self.dtype_policy) for index in range(self.depth)
        ]
        for layer in (*self.convolutions, self.objectness, self.deltas):
            layer.build(shapes[0])
        self.built = True

    def call(self, inputs):
        objectness, deltas = {}, {}
        for number, features in as_pyramid(inputs).items():
            for convolution in self.convolutions:
                features = convolution(features)
            objectness[f"P{number}"] = self.objectness(features)
            deltas[f"P{number}"] = self.deltas(features)
        return objectness, deltas

    def compute_output_shape(self, input_shape):
        levels = as_pyramid(input_shape)
        return tuple(
            {f"P{number}": (*shape[:3], outputs) for number, shape in levels.items()}
            for outputs in (self.anchors, 4 * self.anchors)
        )

    def compute_output_spec(self, inputs):
        shapes = self.compute_output_shape({name: tuple(level.shape) for name, level in inputs.items()})
        return tuple({name: keras.KerasTensor(shape, "float32") for name, shape in levels.items()} for levels in shapes)

    def get_config(self):
        return {
            **super().get_config(),
            "anchors": self.anchors,
            "depth": self.depth,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
