"""Attention U-Net."""

from __future__ import annotations

import functools

import keras

from kseg.layers import AttentionGate, CropTo, Normalize, PadToStride
from kseg.layers.conv_block import check_block_arguments
from kseg.models.backbone_graph import (
    DEFAULT_INPUT_SHAPE,
    as_backbone,
    images_and_features,
    level_number,
    logits_layer,
    serialized_backbone,
)
from kseg.models.segmentation_model import SegmentationModel, check_classes, dtype_scope
from kseg.models.unet_arguments import check_unet_arguments, refuse_other_form
from kseg.models.unet_paths import DECODER_FILTERS, backbone_decoder, published_paths


@keras.saving.register_keras_serializable(package="kseg")
class AttentionUNet(SegmentationModel):
    """U-Net with attention gates on its skips.

    The features below a skip say which of its pixels matter: `kseg.layers.AttentionGate` weighs them before they are
    joined. The finest skip has no gate, since its features say too little about what they show.

    Source: Oktay et al. 2018, "Attention U-Net: Learning Where to Look for the Pancreas",
    https://arxiv.org/abs/1804.03999. The paper's network is three-dimensional; this is its form for images: a U-Net of
    five levels with batch normalisation (`kseg.UNet`), whose three inner skips are gated. With a backbone, the gates
    are on the skips of `kseg.UNet(backbone=...)`.

    The model comes compiled (Adam, cross-entropy, mean IoU, pixel accuracy): `model.fit(dataset)` trains.

    Args:
        num_classes: number of classes; 1 is the sigmoid case: one logit per pixel, labels 0 and 1.
        input_shape: `(height, width, channels)`; height and width may be None, for images of any size.
        filters: channels of the first level; each level below has twice as many.
        depth: number of levels, at least 1; there are gates from 3 on.
        norm: `"batch"`, `"group"` (without a backbone) or None after each 3x3 convolution.
        dropout: rate of the dropout at the end of the two lowest levels.
        upsampling: `"transpose"` or `"bilinear"`: how features come to the next level.
        input_range: `(low, high)` of the values in the images, which the model maps to -1..1, or to what the backbone
            was trained on; None if they come as the network should see them.
        ignore_index: the label of void pixels, or None.
        class_names: one name per class, or None.
        kernel_initializer: as in Keras.
        backbone: a `kseg.backbones.Backbone`, which brings its input shape and excludes `input_shape`, `filters`,
            `depth`, `dropout` and `upsampling`; None for the paper's encoder.
        decoder_filters: with a backbone: channels of each step, from the deepest level up to the image.
        name: of the model.
        dtype: precision policy, for example `"mixed_bfloat16"`; None takes the current one. The logits are always
            float32.
        **kwargs: `trainable`, and `frozen_batch_norm`: whether batch normalisation keeps what it has.

    Attributes:
        stride: `2**(depth - 1)`; that of the deepest level of a backbone.

    Call arguments:
        images: `(B, H, W, channels)`, integer or floating, in `input_range`. Without a backbone they are padded to the
            stride, and the logits are cropped.

    Returns:
        float32 logits `(B, H, W, num_classes)`.

    Raises:
        TypeError: a backbone of another kind.
        ValueError: an argument outside its range, or one that only the other form has.

    Example:
        >>> model = kseg.AttentionUNet(num_classes=2, filters=16)
        >>> model.fit(images, masks, epochs=10)  # (N, H, W, 3) uint8 and (N, H, W) integers
    """

    def __init__(
        self,
        num_classes,
        input_shape=DEFAULT_INPUT_SHAPE,
        filters=64,
        depth=5,
        norm="batch",
        dropout=0.0,
        upsampling="transpose",
        input_range=(0, 255),
        ignore_index=255,
        class_names=None,
        kernel_initializer="he_normal",
        backbone=None,
        decoder_filters=DECODER_FILTERS,
        name="attention_unet",
        dtype=None,
        **kwargs,
    ):
        check_classes(num_classes, ignore_index, class_names)
        published = {
            "input_shape": input_shape,
            "filters": filters,
            "depth": depth,
            "dropout": dropout,
            "upsampling": upsampling,
        }
        refuse_other_form(type(self), backbone, published, {"decoder_filters": decoder_filters})
        check_unet_arguments(input_shape, depth)
        check_block_arguments(filters=filters, norm=norm, dropout=dropout, padding="same")
        kernel_initializer = keras.initializers.get(kernel_initializer)
        block = {"norm": norm, "activation": "relu", "kernel_initializer": kernel_initializer}

        with dtype_scope(dtype):
            if backbone is None:
                images = keras.Input(input_shape, name="images")
                features = images if input_range is None else Normalize(input_range, name="normalize")(images)
                stride = 2 ** (depth - 1)
                features = PadToStride(stride, name="pad")(features)
                features = published_paths(
                    features,
                    filters=filters,
                    depth=depth,
                    dropout=dropout,
                    upsampling=upsampling,
                    padding="same",
                    gate=functools.partial(_gated, kernel_initializer, 0),
                    **block,
                )
                logits = logits_layer(num_classes, 1, "logits", kernel_initializer)(features)
                logits = CropTo(0, dtype="float32", name="crop")([logits, images])
            else:
                backbone = as_backbone(backbone)
                images, features = images_and_features(backbone, input_range)
                stride = max(backbone.strides.values())
                finest = min(level_number(level) for level in features if level_number(level))
                gate = functools.partial(_gated, kernel_initializer, finest)
                features = backbone_decoder(features, images, decoder_filters, gate=gate, **block)
                logits = logits_layer(num_classes, 3, "segmentation_head_0")(features)
            super().__init__(
                images,
                logits,
                num_classes=num_classes,
                ignore_index=ignore_index,
                class_names=class_names,
                input_range=input_range,
                stride=stride,
                name=name,
                **kwargs,
            )

        self.keep_arguments(
            num_classes=num_classes,
            **published,
            norm=norm,
            input_range=input_range,
            ignore_index=ignore_index,
            class_names=class_names,
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
            backbone=serialized_backbone(backbone),
            decoder_filters=decoder_filters,
        )
        self.compile_default()


def _gated(kernel_initializer, finest, level, skip, below):
    if level == finest:
        return skip
    return AttentionGate(kernel_initializer=kernel_initializer, name=f"attention_{level}")([skip, below])
