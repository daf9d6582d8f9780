"""Pyramid scene parsing network."""

from __future__ import annotations

import keras

from kseg._class_arguments import is_finite_number
from kseg.backbones import Backbone, ResNet
from kseg.layers import PyramidPooling
from kseg.models.backbone_graph import (
    DEFAULT_INPUT_SHAPE,
    as_backbone,
    check_levels,
    check_rate,
    images_and_features,
    level_number,
    logits_layer,
    serialized_backbone,
)
from kseg.models.fcn_head import fcn_head
from kseg.models.segmentation_model import SegmentationModel, check_classes, dtype_scope

AUXILIARY_LEVEL = "P4"
AUXILIARY_DROPOUT = 0.1


@keras.saving.register_keras_serializable(package="kseg")
class PSPNet(SegmentationModel):
    """Pyramid scene parsing network.

    One level of the backbone goes through `kseg.layers.PyramidPooling`; a 3 x 3 convolution gives the logits, which are
    resized to the image (corners aligned).

    Source: Zhao et al. 2017, "Pyramid Scene Parsing Network", https://arxiv.org/abs/1612.01105. The paper takes the
    deepest level of a network dilated to stride 8, as the default backbone is, with an auxiliary head of weight 0.4;
    segmentation-models-pytorch takes the level of stride 8 of an undilated one, without what comes after it:
    `PSPNet(num_classes, backbone=kseg.backbones.ResNet(34), level="P3")`. What follows the level is that library's.

    The model comes compiled (Adam, cross-entropy, mean IoU, pixel accuracy): `model.fit(dataset)` trains.

    Args:
        num_classes: number of classes; 1 is the sigmoid case: one logit per pixel, labels 0 and 1.
        backbone: a `kseg.backbones.Backbone`; None for a ResNet-50 with output stride 8.
        input_shape: of the images of the default backbone; a given one brings its own.
        level: which level is pooled, for example `"P3"`; None for the deepest. What the backbone has below it is left
            out of the model.
        filters: channels after the pooling.
        sizes: of the pooling: bins per side, one grid for each.
        dropout: rate at which whole channels are dropped before the logits.
        auxiliary_weight: of the loss of an auxiliary head on P4, which exists in training only: a 3 x 3 convolution to
            a quarter of the channels, dropout of 0.1 and a 1 x 1 convolution; 0 for none.
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
        stride: the largest up to the level.
        receptive_field_radius: None: the pooling looks at the whole image.

    Call arguments:
        images: `(B, H, W, channels)`, integer or floating, in `input_range`.

    Returns:
        float32 logits `(B, H, W, num_classes)`.

    Raises:
        TypeError: a backbone of another kind.
        ValueError: an argument outside its range; a backbone without the level.

    Example:
        >>> model = kseg.PSPNet(num_classes=150, auxiliary_weight=0.4)
        >>> model.fit(images, masks, epochs=10)  # (N, H, W, 3) uint8 and (N, H, W) integers
    """

    def __init__(
        self,
        num_classes,
        backbone=None,
        input_shape=DEFAULT_INPUT_SHAPE,
        level=None,
        filters=512,
        sizes=(1, 2, 3, 6),
        dropout=0.2,
        auxiliary_weight=0.0,
        input_range=(0, 255),
        ignore_index=255,
        class_names=None,
        kernel_initializer="he_normal",
        name="pspnet",
        dtype=None,
        **kwargs,
    ):
        check_classes(num_classes, ignore_index, class_names)
        check_rate("dropout", dropout)
        if not is_finite_number(auxiliary_weight) or auxiliary_weight < 0:
            raise ValueError(f"auxiliary_weight must be a number of at least 0; got {auxiliary_weight!r}")
        kernel_initializer = keras.initializers.get(kernel_initializer)
        given = backbone
        with dtype_scope(dtype):
            backbone = as_backbone(backbone, input_shape, lambda shape: ResNet(50, shape, output_stride=8))
            pooled = max(backbone.strides, key=level_number) if level is None else level
            check_levels(backbone, (pooled,), "PSPNet")
            shallow = _up_to(backbone, pooled)
            if auxiliary_weight:
                check_levels(shallow, (AUXILIARY_LEVEL,), "the auxiliary head of PSPNet")
            images, features = images_and_features(shallow, input_range)
            scene = PyramidPooling(filters, sizes, kernel_initializer=kernel_initializer, name="decoder_psp")(
                features[pooled]
            )
            scene = keras.layers.SpatialDropout2D(dropout, name="decoder_dropout")(scene)
            auxiliary = None
            if auxiliary_weight:
                head = fcn_head(
                    features[AUXILIARY_LEVEL], num_classes, AUXILIARY_DROPOUT, kernel_initializer, "auxiliary"
                )
                auxiliary = {"auxiliary": (head, auxiliary_weight)}
            super().__init__(
                images,
                logits_layer(num_classes, 3, "segmentation_head_0")(scene),
                num_classes=num_classes,
                ignore_index=ignore_index,
                class_names=class_names,
                input_range=input_range,
                stride=max(shallow.strides.values()),
                upsampling="align_corners",
                auxiliary=auxiliary,
                name=name,
                **kwargs,
            )

        self.keep_arguments(
            num_classes=num_classes,
            backbone=None if given is None else serialized_backbone(backbone),
            input_shape=input_shape,
            level=level,
            filters=filters,
            sizes=sizes,
            dropout=dropout,
            auxiliary_weight=auxiliary_weight,
            input_range=input_range,
            ignore_index=ignore_index,
            class_names=class_names,
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
        )
        self.compile_default()


def _up_to(backbone, level):
    """The backbone without what only deeper levels need."""
    kept = [name for name in backbone.strides if level_number(name) <= level_number(level)]
    if len(kept) == len(backbone.strides):
        return backbone
    return Backbone(
        backbone.input,
        {name: backbone.output[name] for name in kept},
        strides={name: backbone.strides[name] for name in kept},
        pixel_mean=backbone.pixel_mean,
        pixel_std=backbone.pixel_std,
        name=backbone.name,
    )
