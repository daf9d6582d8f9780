"""The neck of detectors: levels with the deeper ones added."""

from __future__ import annotations

import keras

from kseg.layers._folding import check_convolution_arguments
from kseg.layers.conv_block import fresh_initializer
from kseg.layers.conv_norm2d import ConvNorm2D
from kseg.layers.resize_to import ResizeTo
from kseg_ops._pyramid import as_pyramid


@keras.saving.register_keras_serializable(package="kseg")
class FeaturePyramid(keras.layers.Layer):
    """A feature pyramid network: strong features at every resolution.

    Each level is brought to `filters` channels by a 1 x 1 convolution; from the coarsest down, the level above is added
    to it, its pixels repeated to the finer size; a 3 x 3 convolution of each sum is the output. One more level follows
    the coarsest, every second row and column of it, for anchors of large objects.

    Source: Lin et al. 2017, "Feature Pyramid Networks for Object Detection", https://arxiv.org/abs/1612.03144, in the
    form of torchvision's `FeaturePyramidNetwork` with `LastLevelMaxPool`.

    Args:
        filters: channels of every output.
        norm: `"batch"` or None: what follows each convolution, which has a bias only without it.
        extra_level: whether there is one more level.
        kernel_initializer: as in Keras.
        norm_momentum: of the moving averages.
        norm_epsilon: added to the variance.
        **kwargs: `name`, `dtype`, `trainable`.

    Attributes:
        lateral, outputs: the 1 x 1 and the 3 x 3 convolutions, `ConvNorm2D`, the finest level first; empty before the
            layer is built.

    Call arguments:
        inputs: a dict `{"P2": (B, H, W, C), "P3": (B, ceil(H / 2), ceil(W / 2), C'), ...}` of any levels.
        training: whether normalisation takes the statistics of the batch.

    Returns:
        A dict with the levels of the inputs, `(B, h, w, filters)` in the compute dtype, and the one after the last.

    Raises:
        ValueError: an argument outside its range; a key that names no level.

    Example:
        >>> backbone = kseg.backbones.ResNet(50)
        >>> levels = backbone(keras.Input((None, None, 3)))
        >>> pyramid = FeaturePyramid()({name: levels[name] for name in ("P2", "P3", "P4", "P5")})
        >>> list(pyramid)
        ['P2', 'P3', 'P4', 'P5', 'P6']
    """

    def __init__(
        self,
        filters=256,
        norm=None,
        extra_level=True,
        kernel_initializer="lecun_uniform",
        norm_momentum=0.9,
        norm_epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_convolution_arguments(filters=filters, norm=norm, rate=1)
        self.filters = filters
        self.norm = norm
        self.extra_level = extra_level
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.norm_momentum = norm_momentum
        self.norm_epsilon = norm_epsilon
        self.lateral = []
        self.outputs = []
        self.resize = ResizeTo("nearest", dtype=self.dtype_policy, name="resize")

    def _convolution(self, name, kernel_size):
        return ConvNorm2D(
            self.filters,
            kernel_size,
            norm=self.norm,
            activation=None,
            kernel_initializer=fresh_initializer(self.kernel_initializer),
            norm_momentum=self.norm_momentum,
            norm_epsilon=self.norm_epsilon,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape):
        levels = as_pyramid(input_shape)
        self.lateral = [self._convolution(f"lateral_{number}", 1) for number in levels]
        self.outputs = [self._convolution(f"output_{number}", 3) for number in levels]
        for lateral, output, shape in zip(self.lateral, self.outputs, levels.values(), strict=True):
            lateral.build(shape)
            output.build((*shape[:-1], self.filters))
        self.resize.build(())
        self.built = True

    def call(self, inputs, training=None):
        numbers, maps = zip(*as_pyramid(inputs).items(), strict=True)
        sums = [lateral(level, training=training) for lateral, level in zip(self.lateral, maps, strict=True)]
        for index in reversed(range(len(sums) - 1)):
            sums[index] += self.resize([sums[index + 1], sums[index]])
        outputs = [output(level, training=training) for output, level in zip(self.outputs, sums, strict=True)]
        pyramid = {f"P{number}": level for number, level in zip(numbers, outputs, strict=True)}
        if self.extra_level:
            pyramid[f"P{numbers[-1] + 1}"] = outputs[-1][:, ::2, ::2]
        return pyramid

    def compute_output_shape(self, input_shape):
        levels = as_pyramid(input_shape)
        shapes = {f"P{number}": (*shape[:3], self.filters) for number, shape in levels.items()}
        if self.extra_level:
            number, (batch, *sizes, _) = list(levels.items())[-1]
            halves = [None if size is None else -(-size // 2) for size in sizes]
            shapes[f"P{number + 1}"] = (batch, *halves, self.filters)
        return shapes

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "norm": self.norm,
            "extra_level": self.extra_level,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "norm_momentum": self.norm_momentum,
            "norm_epsilon": self.norm_epsilon,
        }
