"""Residual networks."""

from __future__ import annotations

import keras

from kseg._dtype_scope import dtype_scope
from kseg.backbones.backbone import Backbone
from kseg.layers import ConvNorm2D, PaddedMaxPooling2D, ResidualBlock
from kseg.layers.conv_block import fresh_initializer

# The statistics of ImageNet's pixels in units of 0..1 that published weights were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_BASIC = (18, 34)  # the depths whose blocks have two convolutions


@keras.saving.register_keras_serializable(package="kseg")
class ResNet(Backbone):
    """ResNet-18, -34, -50, -101 and -152 in the form of torchvision, and dilated.

    The levels are P1, after the first convolution, and P2 to P5, the four stages. With an output stride below 32 the
    stages that would pass it keep their size, and their 3 x 3 convolutions are dilated instead, except that the first
    block of such a stage still has the rate of the stage before it (`dilate_first_block=True` for its own).

    Source: He et al. 2015, "Deep Residual Learning for Image Recognition", https://arxiv.org/abs/1512.03385; dilated as
    in Yu et al. 2017, "Dilated Residual Networks", https://arxiv.org/abs/1705.09914. Without classifier it has
    11,176,512, 21,284,672, 23,508,032, 42,500,160 and 58,143,808 trainable parameters.

    Args:
        depth: 18, 34 (basic blocks), 50, 101 or 152 (bottlenecks).
        input_shape: `(height, width, channels)`; height and width may be None.
        output_stride: 8, 16 or 32: the stride of P5.
        multi_grid: one rate for each block of the last stage, which multiplies that of the stage, as in Chen et al.
            2017, https://arxiv.org/abs/1706.05587, which has (1, 2, 4); None for the same rate everywhere.
        dilate_first_block: whether the first block of a dilated stage has the stage's rate, as in
            segmentation-models-pytorch, or that of the stage before it, as in torchvision. With `multi_grid` it has the
            stage's.
        filters: channels of the first convolution; the stages have 1, 2, 4 and 8 times as many, bottlenecks four times
            that.
        kernel_initializer: as in Keras.
        norm_epsilon: added to the variance by batch normalisation.
        name: of the model.
        dtype: precision policy; None takes the current one.
        **kwargs: `trainable`.

    Call arguments:
        images: `(B, H, W, channels)`, scaled to 0..1, `pixel_mean` subtracted and divided by `pixel_std`.

    Returns:
        `{"P1": ..., "P5": ...}`, features `(B, ceil(H / stride), ceil(W / stride), C)` in the compute dtype.

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> backbone = ResNet(50, output_stride=8)
        >>> backbone.strides
        {'P1': 2, 'P2': 4, 'P3': 8, 'P4': 8, 'P5': 8}
    """

    def __init__(
        self,
        depth=50,
        input_shape=(None, None, 3),
        output_stride=32,
        multi_grid=None,
        dilate_first_block=False,
        filters=64,
        kernel_initializer="he_normal",
        norm_epsilon=1e-5,
        name="backbone",
        dtype=None,
        **kwargs,
    ):
        _check_arguments(depth, output_stride, multi_grid)
        kernel_initializer = keras.initializers.get(kernel_initializer)
        with dtype_scope(dtype):
            images = keras.Input(input_shape, name="images")
            features = ConvNorm2D(
                filters,
                7,
                strides=2,
                kernel_initializer=fresh_initializer(kernel_initializer),
                norm_epsilon=norm_epsilon,
                name="conv1",
            )(images)
            outputs, strides = {"P1": features}, {"P1": 2}
            features = PaddedMaxPooling2D(3, strides=2, name="maxpool")(features)
            stride, rate = 4, 1
            for stage, blocks in enumerate(_BLOCKS[depth], start=1):
                before, step = rate, 1 if stage == 1 else 2
                if stride * step > output_stride:
                    rate, step = rate * step, 1
                stride *= step
                rates = [rate if dilate_first_block else before, *[rate] * (blocks - 1)]
                if stage == len(_BLOCKS[depth]) and multi_grid is not None:
                    rates = [rate * unit for unit in multi_grid]
                for block in range(blocks):
                    features = ResidualBlock(
                        filters * 2 ** (stage - 1),
                        bottleneck=depth not in _BASIC,
                        strides=step if block == 0 else 1,
                        rate=rates[block],
                        kernel_initializer=fresh_initializer(kernel_initializer),
                        norm_epsilon=norm_epsilon,
                        name=f"layer{stage}_{block}",
                    )(features)
                outputs[f"P{stage + 1}"], strides[f"P{stage + 1}"] = features, stride
            colour = images.shape[-1] == len(IMAGENET_MEAN)
            super().__init__(
                images,
                outputs,
                strides=strides,
                pixel_mean=IMAGENET_MEAN if colour else None,
                pixel_std=IMAGENET_STD if colour else None,
                name=name,
                **kwargs,
            )
        self.keep_arguments(
            depth=depth,
            input_shape=input_shape,
            output_stride=output_stride,
            multi_grid=multi_grid,
            dilate_first_block=dilate_first_block,
            filters=filters,
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
            norm_epsilon=norm_epsilon,
        )


def _check_arguments(depth, output_stride, multi_grid):
    if depth not in _BLOCKS:
        raise ValueError(f"depth must be one of {', '.join(map(str, _BLOCKS))}; got {depth!r}")
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32; got {output_stride!r}")
    if multi_grid is None:
        return
    blocks = _BLOCKS[depth][-1]
    if len(multi_grid) != blocks or not all(isinstance(unit, int) and unit >= 1 for unit in multi_grid):
        raise ValueError(
            f"multi_grid must be {blocks} positive ints, one per block of the last stage; got {multi_grid!r}"
        )
    if output_stride == 32 and multi_grid[0] != 1:
        raise ValueError(
            f"multi_grid must begin with 1 for output_stride=32, whose last stage has strides; got {multi_grid!r}"
        )
