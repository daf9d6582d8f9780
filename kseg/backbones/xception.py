"""Xception, as DeepLabV3+ has it."""

from __future__ import annotations

import keras

from kseg._class_arguments import is_finite_number
from kseg._dtype_scope import dtype_scope
from kseg.backbones.backbone import Backbone
from kseg.layers import ConvNorm2D, DepthwiseConvNorm2D

_EPSILON = 1e-3
# The blocks around the middle flow, whose units all have _MIDDLE: name, the channels of three separable convolutions.
_ENTRY = (
    ("entry_flow_block1", 128, 128, 128),
    ("entry_flow_block2", 256, 256, 256),
    ("entry_flow_block3", 728, 728, 728),
)
_MIDDLE = (728, 728, 728)
_EXIT = ("exit_flow_block1", 728, 1024, 1024)
_LAST = (1536, 1536, 2048)


@keras.saving.register_keras_serializable(package="kseg")
class Xception(Backbone):
    """Xception-65 with aligned features: separable convolutions with strides where Xception has poolings.

    Every depthwise and every pointwise convolution has batch normalisation. ReLUs precede the separable convolutions of
    all residual units; the last three convolutions, which have no shortcut, have them after both of their parts.

    Source: Chen et al. 2018, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
    https://arxiv.org/abs/1802.02611, after Chollet 2017, https://arxiv.org/abs/1610.02357, and Qi et al. 2017. It has
    37,867,312 trainable parameters.

    P1 to P4 are what the second of the three separable convolutions of each block with a stride gives, before the third
    one strides: P2 is what the published decoder takes. They are neither activated nor added to a shortcut. P5 is the
    end.

    Args:
        input_shape: `(height, width, channels)`; height and width may be None.
        output_stride: 8, 16 or 32: the stride of P5. A block that would pass it keeps its size, and what follows it is
            dilated.
        middle_units: residual units of the middle flow; 16 for Xception-65, 8 for Xception-41.
        width: factor of all channels.
        kernel_initializer: as in Keras.
        norm_momentum: of the moving averages; the published one remembers thousands of steps, and a short training
            wants 0.99 or less.
        name: of the model.
        dtype: precision policy; None takes the current one.
        **kwargs: `trainable`.

    Call arguments:
        images: `(B, H, W, channels)`, within -1..1: the published weights know no other statistics.

    Returns:
        `{"P1": ..., "P5": ...}`, features `(B, ceil(H / stride), ceil(W / stride), C)` in the compute dtype.

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> backbone = Xception(output_stride=16)
        >>> backbone.channels
        {'P1': 128, 'P2': 256, 'P3': 728, 'P4': 1024, 'P5': 2048}
    """

    def __init__(
        self,
        input_shape=(None, None, 3),
        output_stride=32,
        middle_units=16,
        width=1.0,
        kernel_initializer="he_normal",
        norm_momentum=0.9997,
        name="backbone",
        dtype=None,
        **kwargs,
    ):
        _check_arguments(output_stride, middle_units, width)
        kernel_initializer = keras.initializers.get(kernel_initializer)
        common = {
            "kernel_initializer": kernel_initializer,
            "norm_momentum": norm_momentum,
            "norm_epsilon": _EPSILON,
        }

        def channels(filters):
            return tuple(max(1, round(count * width)) for count in filters)

        with dtype_scope(dtype):
            images = keras.Input(input_shape, name="images")
            first, second = channels((32, 64))
            features = ConvNorm2D(first, 3, strides=2, name="entry_flow_conv1_1", **common)(images)
            features = ConvNorm2D(second, 3, name="entry_flow_conv1_2", **common)(features)
            outputs, strides, stride, rate = {}, {}, 2, 1
            for level, (block, *filters) in enumerate((*_ENTRY, _EXIT), start=1):
                if block == _EXIT[0]:
                    for unit in range(1, middle_units + 1):
                        features, _ = _residual_unit(
                            features, channels(_MIDDLE), f"middle_flow_block1_unit_{unit}", 1, rate, **common
                        )
                dilated = stride == output_stride
                strides[f"P{level}"] = stride
                features, outputs[f"P{level}"] = _residual_unit(
                    features, channels(filters), f"{block}_unit_1", 1 if dilated else 2, rate, **common
                )
                stride, rate = (stride, 2 * rate) if dilated else (2 * stride, rate)
            for number, filters in enumerate(channels(_LAST), start=1):
                convolution = f"exit_flow_block2_unit_1_separable_conv{number}"
                features = _separable(features, filters, convolution, 1, rate, "relu", **common)
            outputs["P5"], strides["P5"] = features, stride
            super().__init__(images, outputs, strides=strides, name=name, **kwargs)
        self.keep_arguments(
            input_shape=input_shape,
            output_stride=output_stride,
            middle_units=middle_units,
            width=width,
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
            norm_momentum=norm_momentum,
        )


def _residual_unit(features, filters, name, strides, rate, **common):
    """Three separable convolutions, the last with strides, around which a shortcut goes.

    Returns:
        Their sum with the shortcut, and what the second of them gives.
    """
    shortcut = features
    if strides > 1 or filters[-1] != features.shape[-1]:
        shortcut = ConvNorm2D(filters[-1], 1, strides, activation=None, name=f"{name}_shortcut", **common)(features)
    between = []
    for number, count in enumerate(filters, start=1):
        features = keras.layers.ReLU(name=f"{name}_relu{number}")(features)
        step = strides if number == len(filters) else 1
        features = _separable(features, count, f"{name}_separable_conv{number}", step, rate, None, **common)
        between.append(features)
    return keras.layers.Add(name=f"{name}_sum")([features, shortcut]), between[-2]


def _separable(features, filters, name, strides, rate, activation, **common):
    depthwise = DepthwiseConvNorm2D(3, strides, rate, activation=activation, name=f"{name}_depthwise", **common)(
        features
    )
    return ConvNorm2D(filters, 1, activation=activation, name=f"{name}_pointwise", **common)(depthwise)


def _check_arguments(output_stride, middle_units, width):
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32; got {output_stride!r}")
    if not isinstance(middle_units, int) or isinstance(middle_units, bool) or middle_units < 0:
        raise ValueError(f"middle_units must be an int of at least 0; got {middle_units!r}")
    if not is_finite_number(width) or width <= 0:
        raise ValueError(f"width must be a positive number; got {width!r}")
