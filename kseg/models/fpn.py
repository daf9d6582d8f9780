"""Feature pyramid network for semantic segmentation."""

from __future__ import annotations

import math

import keras

from kseg.backbones import ResNet
from kseg.layers import ResizeTo
from kseg.layers.conv_block import fresh_initializer
from kseg.models.backbone_graph import (
    DEFAULT_INPUT_SHAPE,
    as_backbone,
    check_levels,
    check_rate,
    images_and_features,
    logits_layer,
    serialized_backbone,
)
from kseg.models.segmentation_model import SegmentationModel, check_classes, dtype_scope

LEVELS = ("P5", "P4", "P3", "P2")
GROUPS = 32  # of the group normalisation
NORM_EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="kseg")
class FPN(SegmentationModel):
    """The semantic branch of a feature pyramid network.

    From P5 down every level is brought to `pyramid_filters` channels by a 1 x 1 convolution and added to the level
    above, resized by repeating pixels. Each level then goes through as many (3 x 3 convolution, group normalisation,
    ReLU, twofold resizing with corners aligned) as bring it to the size of P2, which goes through one without resizing;
    all are added or joined, and a 1 x 1 convolution gives logits of stride 4, which are resized to the image (corners
    aligned).

    Source: Kirillov et al. 2017, "A Unified Architecture for Instance and Semantic Segmentation",
    http://presentations.cocodataset.org/COCO17-Stuff-FAIR.pdf, and Kirillov et al. 2019, "Panoptic Feature Pyramid
    Networks", https://arxiv.org/abs/1901.02446; the network is that of segmentation-models-pytorch.

    The model comes compiled (Adam, cross-entropy, mean IoU, pixel accuracy): `model.fit(dataset)` trains.

    Args:
        num_classes: number of classes; 1 is the sigmoid case: one logit per pixel, labels 0 and 1.
        backbone: a `kseg.backbones.Backbone` with the levels P2 to P5; None for a ResNet-50.
        input_shape: of the images of the default backbone; a given one brings its own.
        pyramid_filters: channels of the pyramid.
        filters: channels of the convolutions after it. They are normalised in 32 groups, or in as many as 32 and they
            have as their greatest common divisor.
        merge: `"add"` or `"concat"`, P5 in front.
        dropout: rate at which whole channels are dropped before the logits.
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
        receptive_field_radius: None: group normalisation looks at the whole image.

    Call arguments:
        images: `(B, H, W, channels)`, integer or floating, in `input_range`.

    Returns:
        float32 logits `(B, H, W, num_classes)`.

    Raises:
        TypeError: a backbone of another kind.
        ValueError: an argument outside its range; a backbone without the levels.

    Example:
        >>> model = kseg.FPN(num_classes=19, backbone=kseg.backbones.ResNet(34))
        >>> model.fit(images, masks, epochs=10)  # (N, H, W, 3) uint8 and (N, H, W) integers
    """

    def __init__(
        self,
        num_classes,
        backbone=None,
        input_shape=DEFAULT_INPUT_SHAPE,
        pyramid_filters=256,
        filters=128,
        merge="add",
        dropout=0.2,
        input_range=(0, 255),
        ignore_index=255,
        class_names=None,
        kernel_initializer="he_normal",
        name="fpn",
        dtype=None,
        **kwargs,
    ):
        check_classes(num_classes, ignore_index, class_names)
        _check_arguments(pyramid_filters, filters, merge, dropout)
        kernel_initializer = keras.initializers.get(kernel_initializer)
        given = backbone
        with dtype_scope(dtype):
            backbone = as_backbone(backbone, input_shape, lambda shape: ResNet(50, shape))
            check_levels(backbone, LEVELS[::-1], "FPN")
            images, features = images_and_features(backbone, input_range)

            pyramid = _pyramid(features, pyramid_filters, kernel_initializer)
            maps = [_at_stride_4(pyramid, index, filters, kernel_initializer) for index in range(len(LEVELS))]
            merged = keras.layers.Add if merge == "add" else keras.layers.Concatenate
            decoded = merged(name="decoder_merge")(maps)
            decoded = keras.layers.SpatialDropout2D(dropout, name="decoder_dropout")(decoded)
            super().__init__(
                images,
                logits_layer(num_classes, 1, "segmentation_head_0")(decoded),
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
            pyramid_filters=pyramid_filters,
            filters=filters,
            merge=merge,
            dropout=dropout,
            input_range=input_range,
            ignore_index=ignore_index,
            class_names=class_names,
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
        )
        self.compile_default()


def _pyramid(features, filters, kernel_initializer):
    """The levels with the deeper ones added, from P5 to P2."""
    levels = []
    for level in LEVELS:
        name = f"decoder_p{level[1:]}"
        lateral = keras.layers.Conv2D(
            filters,
            1,
            kernel_initializer=fresh_initializer(kernel_initializer),
            name=f"{name}_skip_conv" if levels else name,
        )(features[level])
        if levels:
            above = ResizeTo("nearest", name=f"{name}_up")([levels[-1], lateral])
            lateral = keras.layers.Add(name=f"{name}_add")([above, lateral])
        levels.append(lateral)
    return levels


def _at_stride_4(pyramid, index, filters, kernel_initializer):
    """A level of the pyramid, convolved and resized step by step to the size of the finest one."""
    features = pyramid[index]
    for step, reference in enumerate(pyramid[index + 1 :] or [None]):
        name = f"decoder_seg_blocks_{index}_block_{step}"
        features = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer=fresh_initializer(kernel_initializer),
            name=f"{name}_block_0",
        )(features)
        features = keras.layers.GroupNormalization(
            math.gcd(filters, GROUPS), epsilon=NORM_EPSILON, name=f"{name}_block_1"
        )(features)
        features = keras.layers.ReLU(name=f"{name}_block_2")(features)
        if reference is not None:
            features = ResizeTo("align_corners", name=f"{name}_up")([features, reference])
    return features


def _check_arguments(pyramid_filters, filters, merge, dropout):
    for argument, value in (("pyramid_filters", pyramid_filters), ("filters", filters)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{argument} must be a positive int; got {value!r}")
    if merge not in ("add", "concat"):
        raise ValueError(f'merge must be "add" or "concat"; got {merge!r}')
    check_rate("dropout", dropout)
