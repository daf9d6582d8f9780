"""MobileNetV3."""

from __future__ import annotations

import keras

from kseg._class_arguments import is_finite_number
from kseg._dtype_scope import dtype_scope
from kseg.backbones._imagenet import IMAGENET_MEAN, IMAGENET_STD
from kseg.backbones.backbone import Backbone
from kseg.layers import ConvNorm2D, InvertedResidual

# Kernel size, expanded and output channels, squeeze and excitation or not, activation, stride: table 1 of the paper.
_BLOCKS = (
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hard_silu", 2),
    (3, 200, 80, False, "hard_silu", 1),
    (3, 184, 80, False, "hard_silu", 1),
    (3, 184, 80, False, "hard_silu", 1),
    (3, 480, 112, True, "hard_silu", 1),
    (3, 672, 112, True, "hard_silu", 1),
    (5, 672, 160, True, "hard_silu", 2),
    (5, 960, 160, True, "hard_silu", 1),
    (5, 960, 160, True, "hard_silu", 1),
)
_FIRST_CHANNELS = 16
_LAST_EXPANSION = 6
# Normalisation as the published weights have it: Keras's momentum is what remains, PyTorch's (0.01) what is new.
_NORM = {"norm_momentum": 0.99, "norm_epsilon": 1e-3}


@keras.saving.register_keras_serializable(package="kseg")
class MobileNetV3(Backbone):
    """MobileNetV3-Large: inverted residuals with squeeze and excitation and hard swish, made for phones.

    The `features` of torchvision's `mobilenet_v3_large`; with `output_stride=16` of its dilated form, which its
    segmentation models take. 2,971,952 trainable parameters.

    Source: Howard et al. 2019, "Searching for MobileNetV3", https://arxiv.org/abs/1905.02244.

    Args:
        input_shape: `(height, width, channels)`; height and width may be None.
        output_stride: 8, 16 or 32: the stride of P5. The stages that would pass it keep their size, and their depthwise
            convolutions, the first one's too, are dilated instead.
        width: factor of all channels, which are rounded to multiples of 8.
        levels: which of the tensors of one stride P1 to P4 are: `"last"`, or `"first"`: those that the convolutions
            with a stride end in, which torchvision's segmentation models take. P5 is the last of all in either case.
        kernel_initializer: as in Keras.
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
        >>> backbone = MobileNetV3(output_stride=16)
        >>> backbone.channels
        {'P1': 16, 'P2': 24, 'P3': 40, 'P4': 112, 'P5': 960}
    """

    def __init__(
        self,
        input_shape=(None, None, 3),
        output_stride=32,
        width=1.0,
        levels="last",
        kernel_initializer="he_normal",
        name="backbone",
        dtype=None,
        **kwargs,
    ):
        _check_arguments(output_stride, width, levels)
        kernel_initializer = keras.initializers.get(kernel_initializer)
        common = {"kernel_initializer": kernel_initializer, **_NORM}
        with dtype_scope(dtype):
            images = keras.Input(input_shape, name="images")
            features = ConvNorm2D(
                _rounded(_FIRST_CHANNELS * width), 3, strides=2, activation="hard_silu", name="features_0", **common
            )(images)
            stages, stride, rate = [(2, [features])], 2, 1
            for index, (kernel, expanded, filters, squeeze, activation, step) in enumerate(_BLOCKS, start=1):
                dilated = stride * step > output_stride
                rate, strides = (rate * step, 1) if dilated else (rate, step)
                stride *= strides
                expanded = _rounded(expanded * width)
                features = InvertedResidual(
                    expanded,
                    _rounded(filters * width),
                    kernel,
                    strides=strides,
                    rate=rate,
                    squeeze_filters=_rounded(expanded // 4) if squeeze else None,
                    residual=step == 1,
                    activation=activation,
                    name=f"features_{index}",
                    **common,
                )(features)
                if step > 1:
                    stages.append((stride, []))
                stages[-1][1].append(features)
            features = ConvNorm2D(
                _LAST_EXPANSION * features.shape[-1],
                1,
                activation="hard_silu",
                name=f"features_{len(_BLOCKS) + 1}",
                **common,
            )(features)
            which = 0 if levels == "first" else -1
            outputs = {f"P{level}": tensors[which] for level, (_, tensors) in enumerate(stages, start=1)}
            outputs["P5"] = features
            colour = images.shape[-1] == len(IMAGENET_MEAN)
            super().__init__(
                images,
                outputs,
                strides={f"P{level}": stride for level, (stride, _) in enumerate(stages, start=1)},
                pixel_mean=IMAGENET_MEAN if colour else None,
                pixel_std=IMAGENET_STD if colour else None,
                name=name,
                **kwargs,
            )
        self.keep_arguments(
            input_shape=input_shape,
            output_stride=output_stride,
            width=width,
            levels=levels,
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
        )


def _rounded(channels):
    """The multiple of 8 nearest to a number of channels, though never a tenth less than it."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _check_arguments(output_stride, width, levels):
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32; got {output_stride!r}")
    if not is_finite_number(width) or width <= 0:
        raise ValueError(f"width must be a positive number; got {width!r}")
    if levels not in ("last", "first"):
        raise ValueError(f'levels must be "last" or "first"; got {levels!r}')
