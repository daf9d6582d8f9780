"""DeepLabV3+."""

from __future__ import annotations

import functools

import keras

from kseg.backbones import ResNet
from kseg.layers import ASPP, AtrousSeparableConv2D, ConvNorm2D, ResizeTo
from kseg.models.backbone_graph import (
    DEFAULT_INPUT_SHAPE,
    as_backbone,
    check_levels,
    images_and_features,
    logits_layer,
    serialized_backbone,
)
from kseg.models.segmentation_model import SegmentationModel, check_classes, dtype_scope

LOW_LEVEL_FILTERS = 48  # the best number of the paper's table 1


@keras.saving.register_keras_serializable(package="kseg")
class DeepLabV3Plus(SegmentationModel):
    """DeepLabV3+: atrous spatial pyramid pooling, refined with features of stride 4.

    The deepest features go through `kseg.layers.ASPP`, are resized to those of level P2, of which a 1 x 1 convolution
    keeps 48 channels, joined with them (in front), convolved and classified; the logits, of stride 4, are resized to
    the image. All resizing aligns the corners.

    Source: Chen et al. 2018, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
    https://arxiv.org/abs/1802.02611. It has two forms, for weights and comparisons:

    - separable, the network of segmentation-models-pytorch: every 3 x 3 convolution of the decoder is depthwise
      separable without anything between its parts; one follows the ASPP and one the joining. 26,677,585 parameters
      with ResNet-50 and one class, 45,669,713 with ResNet-101 (whose stages it dilates from the first block on:
      `ResNet(101, output_stride=16, dilate_first_block=True)`).
    - with full convolutions, as published for ResNets: dense branches in the ASPP and two 3 x 3 convolutions after the
      joining. 40,352,181 parameters with ResNet-50 and 21 classes, 59,344,309 with ResNet-101.

    The model comes compiled (Adam, cross-entropy, mean IoU, pixel accuracy): `model.fit(dataset)` trains.

    Args:
        num_classes: number of classes; 1 is the sigmoid case: one logit per pixel, labels 0 and 1.
        backbone: a `kseg.backbones.Backbone` with the levels P2 and P5, best one with an output stride; None for a
            ResNet-50.
        input_shape: of the images of the default backbone; a given one brings its own.
        output_stride: 8 or 16, of the default backbone; a given one has its own.
        separable: which form.
        filters: channels of the ASPP and the decoder.
        rates: of the branches of the ASPP. None: (12, 24, 36) in the separable form, as the peer has them at every
            output stride; in the full form the paper's (6, 12, 18) at output stride 16, twice that at 8.
        dropout: rate of the dropout at the end of the ASPP.
        input_range: `(low, high)` of the values in the images, which the model maps to what the backbone was trained
            on, or to -1..1; None if they come as the network should see them.
        ignore_index: the label of void pixels, or None.
        class_names: one name per class, or None.
        kernel_initializer: as in Keras, of the decoder.
        name: of the model.
        dtype: precision policy, for example `"mixed_bfloat16"`; None takes the current one. The logits are always
            float32.
        **kwargs: `trainable`, and `frozen_batch_norm`: whether batch normalisation keeps what it has.

    Attributes:
        stride: the largest of the backbone.
        receptive_field_radius: None: the pooled branch of the ASPP looks at the whole image.

    Call arguments:
        images: `(B, H, W, channels)`, integer or floating, in `input_range`.

    Returns:
        float32 logits `(B, H, W, num_classes)`.

    Raises:
        TypeError: a backbone of another kind.
        ValueError: an argument outside its range; a backbone without the levels.

    Example:
        >>> model = kseg.DeepLabV3Plus(num_classes=21, separable=False)
        >>> model.fit(images, masks, epochs=10)  # (N, H, W, 3) uint8 and (N, H, W) integers
    """

    def __init__(
        self,
        num_classes,
        backbone=None,
        input_shape=DEFAULT_INPUT_SHAPE,
        output_stride=16,
        separable=True,
        filters=256,
        rates=None,
        dropout=0.5,
        input_range=(0, 255),
        ignore_index=255,
        class_names=None,
        kernel_initializer="he_normal",
        name="deeplabv3plus",
        dtype=None,
        **kwargs,
    ):
        check_classes(num_classes, ignore_index, class_names)
        _check_output_stride(output_stride, backbone)
        kernel_initializer = keras.initializers.get(kernel_initializer)
        given = backbone
        with dtype_scope(dtype):
            default = functools.partial(ResNet, 50, output_stride=output_stride, dilate_first_block=separable)
            backbone = as_backbone(backbone, input_shape, default)
            check_levels(backbone, ("P2", "P5"), "DeepLabV3Plus")
            images, features = images_and_features(backbone, input_range)

            convolution = AtrousSeparableConv2D if separable else ConvNorm2D
            plain = {"depthwise_norm": None, "depthwise_activation": None} if separable else {}
            options = {"kernel_initializer": kernel_initializer, "norm_momentum": 0.9, "norm_epsilon": 1e-5}
            deep = ASPP(
                filters,
                _rates(backbone, separable) if rates is None else rates,
                separable=separable,
                norm_between=False,
                dropout=dropout,
                name="decoder_aspp_0",
                **options,
            )(features["P5"])
            if separable:
                deep = convolution(filters, 3, name="decoder_aspp_1", **plain, **options)(deep)
            low = ConvNorm2D(LOW_LEVEL_FILTERS, 1, name="decoder_block1", **options)(features["P2"])
            deep = ResizeTo("align_corners", name="decoder_up")([deep, low])
            joined = keras.layers.Concatenate(name="decoder_join")([deep, low])
            joined = convolution(filters, 3, name="decoder_block2", **plain, **options)(joined)
            if not separable:
                joined = convolution(filters, 3, name="decoder_block3", **options)(joined)
            super().__init__(
                images,
                logits_layer(num_classes, 1, "segmentation_head_0")(joined),
                num_classes=num_classes,
                ignore_index=ignore_index,
                class_names=class_names,
                input_range=input_range,
                stride=max(backbone.strides.values()),
                upsampling="align_corners",
                name=name,
                **kwargs,
            )

        self.keep_arguments(
            num_classes=num_classes,
            backbone=None if given is None else serialized_backbone(backbone),
            input_shape=input_shape,
            output_stride=output_stride,
            separable=separable,
            filters=filters,
            rates=rates,
            dropout=dropout,
            input_range=input_range,
            ignore_index=ignore_index,
            class_names=class_names,
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
        )
        self.compile_default()


def _check_output_stride(output_stride, backbone):
    if output_stride not in (8, 16):
        raise ValueError(f"output_stride must be 8 or 16; got {output_stride!r}")
    if backbone is not None and output_stride != 16:
        raise ValueError(
            f"output_stride belongs to the default backbone, and backbone is given, which has its own: leave it out; "
            f"got {output_stride!r}"
        )


def _rates(backbone, separable):
    unit = 12 if separable else 6 * max(1, 16 // backbone.strides["P5"])
    return (unit, 2 * unit, 3 * unit)
