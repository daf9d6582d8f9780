"""U-Net."""

from __future__ import annotations

import functools

import keras

from kseg._class_arguments import check_flag
from kseg._image_size import check_image_size
from kseg.layers import CropTo, Normalize, PadToStride
from kseg.layers.conv_block import check_block_arguments
from kseg.models.backbone_graph import as_backbone, images_and_features, logits_layer, serialized_backbone
from kseg.models.keyword_arguments import check_keywords
from kseg.models.segmentation_model import SegmentationModel, check_classes, dtype_scope
from kseg.models.unet_arguments import check_unet_arguments, refuse_other_form
from kseg.models.unet_geometry import (
    output_margin,
    receptive_field_radius,
    smallest_valid_input,
    valid_output_shape,
)
from kseg.models.unet_paths import DECODER_FILTERS, backbone_decoder, published_paths


@keras.saving.register_keras_serializable(package="kseg")
class UNet(SegmentationModel):
    """U-Net: a contracting and an expanding path, joined at every level.

    Source: Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015,
    https://arxiv.org/abs/1505.04597. The published network is
    `UNet(2, (None, None, 1), norm=None, padding="valid")` with 31,030,658 parameters (and `dropout=0.5`).

    With a backbone it is the network of segmentation-models-pytorch: every level of the backbone from P1 on is a skip,
    features are resized to it by repeating pixels, joined and convolved twice (`SkipUpBlock`), and the last step goes
    to the size of the image; a 3 x 3 convolution gives the logits. With `ResNet(34)` and one class it has 24,436,369
    parameters, with `ResNet(50)` 32,521,105.

    The model comes compiled (Adam, cross-entropy, mean IoU, pixel accuracy): `model.fit(dataset)` trains.

    Args:
        num_classes: number of classes; 1 is the sigmoid case: one logit per pixel, labels 0 and 1.
        input_shape: `(height, width, channels)`; height and width may be None, for images of any size.
        filters: channels of the first level; each level below has twice as many.
        depth: number of levels, at least 1. 5 is the paper's: 64 to 1024 channels.
        norm: `"batch"`, `"group"` or None after each 3x3 convolution, which has a bias only if None. With group
            normalisation every pixel depends on the whole image.
        dropout: rate of the dropout at the end of the two lowest levels, where the original has it.
        upsampling: `"transpose"`, the paper's 2x2 up-convolution, or `"bilinear"` interpolation with a 1x1 convolution.
        padding: `"same"`: logits of the size of the image, whatever it is (it is padded to the stride by repeating its
            last row and column, and the logits are cropped); `"valid"`: the paper's unpadded convolutions, with logits
            for the pixels from `margin` on (92 for depth 5: 572 x 572 pixels give 388 x 388 logits). Labels may then
            have the size of the image, of which `fit` and `evaluate` use the part that has logits, or of the logits.
        input_range: `(low, high)` of the values in the images, which the model maps to -1..1, or to what the backbone
            was trained on; None if they come as the network should see them.
        ignore_index: the label of void pixels, or None.
        class_names: one name per class, or None.
        activation: name or callable, as in Keras.
        kernel_initializer: as in Keras; the default is the paper's.
        backbone: a `kseg.backbones.Backbone`, which brings its input shape and excludes `input_shape`, `filters`,
            `depth`, `dropout`, `upsampling` and `padding`; None for the paper's network.
        decoder_filters: with a backbone: channels of each step, from the deepest level up to the image.
        center_block: with a backbone: whether the deepest features go through two more convolutions first, as
            segmentation-models-pytorch has them on VGG.
        name: of the model.
        dtype: precision policy, for example `"mixed_bfloat16"`; None takes the current one. The logits are always
            float32.
        **kwargs: `trainable`, and `frozen_batch_norm`: whether batch normalisation keeps what it has.

    Attributes:
        stride: `2**(depth - 1)`; that of the deepest level of a backbone.
        receptive_field_radius: in pixels; None with group normalisation, and with a backbone.
        margin: pixels without logits at the top and the left: 0 with `"same"` padding.

    Call arguments:
        images: `(B, H, W, channels)`, integer or floating, in `input_range`.

    Returns:
        float32 logits `(B, H, W, num_classes)`, smaller with `padding="valid"`.

    Raises:
        TypeError: an unknown keyword argument; a backbone of another kind.
        ValueError: an argument outside its range, or one that only the other form has; with `padding="valid"`, images
            too small to have an output (if the size is unknown while a graph is traced: InvalidArgumentError when it
            runs).

    Example:
        >>> model = kseg.UNet(num_classes=2, filters=16, depth=4)
        >>> model.fit(images, masks, epochs=10)  # (N, H, W, 3) uint8 and (N, H, W) integers
        >>> classes = kseg.predict(model, image)
        >>> model = kseg.UNet(num_classes=2, backbone=kseg.backbones.ResNet(34))
    """

    def __init__(
        self,
        num_classes,
        input_shape=(None, None, 3),
        filters=64,
        depth=5,
        norm="batch",
        dropout=0.0,
        upsampling="transpose",
        padding="same",
        input_range=(0, 255),
        ignore_index=255,
        class_names=None,
        activation="relu",
        kernel_initializer="he_normal",
        backbone=None,
        decoder_filters=DECODER_FILTERS,
        center_block=False,
        name="unet",
        dtype=None,
        **kwargs,
    ):
        check_keywords(UNet, kwargs)
        check_classes(num_classes, ignore_index, class_names)
        published = {
            "input_shape": input_shape,
            "filters": filters,
            "depth": depth,
            "dropout": dropout,
            "upsampling": upsampling,
            "padding": padding,
        }
        on_backbone = {"decoder_filters": decoder_filters, "center_block": center_block}
        check_flag("center_block", center_block)
        refuse_other_form(UNet, backbone, published, on_backbone)
        backbone = None if backbone is None else as_backbone(backbone)
        check_unet_arguments(input_shape, depth, padding)
        check_block_arguments(filters=filters, norm=norm, dropout=dropout, padding=padding)
        activation = keras.activations.get(activation)
        kernel_initializer = keras.initializers.get(kernel_initializer)

        block = {"norm": norm, "activation": activation, "kernel_initializer": kernel_initializer}
        with dtype_scope(dtype):
            if backbone is None:
                images = keras.Input(input_shape, name="images")
                features = images if input_range is None else Normalize(input_range, name="normalize")(images)
                padded = padding == "same" and depth > 1
                if padded:
                    features = PadToStride(2 ** (depth - 1), name="pad")(features)
                features = published_paths(
                    features,
                    filters=filters,
                    depth=depth,
                    dropout=dropout,
                    upsampling=upsampling,
                    padding=padding,
                    **block,
                )
                logits = logits_layer(num_classes, 1, "logits", kernel_initializer)(features)
                if padded:
                    logits = CropTo(0, dtype="float32", name="crop")([logits, images])
                geometry = {
                    "stride": 2 ** (depth - 1),
                    "receptive_field_radius": None if norm == "group" else receptive_field_radius(depth, upsampling),
                    "margin": output_margin(depth) if padding == "valid" else 0,
                }
            else:
                images, features = images_and_features(backbone, input_range)
                features = backbone_decoder(features, images, decoder_filters, center_block=center_block, **block)
                logits = logits_layer(num_classes, 3, "segmentation_head_0")(features)
                geometry = {"stride": max(backbone.strides.values())}
            super().__init__(
                images,
                logits,
                num_classes=num_classes,
                ignore_index=ignore_index,
                class_names=class_names,
                input_range=input_range,
                name=name,
                **geometry,
                **kwargs,
            )

        # Configuration
        self.padding = padding
        self.depth = depth
        self.keep_arguments(
            num_classes=num_classes,
            **published,
            norm=norm,
            input_range=input_range,
            ignore_index=ignore_index,
            class_names=class_names,
            activation=keras.activations.serialize(activation),
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
            backbone=serialized_backbone(backbone),
            **on_backbone,
        )
        self.compile_default()

    def call(self, inputs, training=None, mask=None):
        if self.padding == "valid":
            reason = f'for padding="valid" and depth={self.depth}'
            fix = 'Use larger images, a smaller depth or "same"'
            check_image_size(inputs, smallest_valid_input(self.depth), reason, fix)
        return super().call(inputs, training=training, mask=mask)

    def logits_size(self, height, width):
        if not self.margin:
            return height, width
        return valid_output_shape(height, width, self.depth)

    def _size_rule(self):
        return functools.partial(valid_output_shape, depth=self.depth) if self.margin else None
