"""Lite R-ASPP."""

from __future__ import annotations

import keras

from kseg._dtype_scope import dtype_scope
from kseg.backbones import MobileNetV3
from kseg.layers import ConvNorm2D, ResizeTo
from kseg.models.backbone_graph import (
    as_backbone,
    check_levels,
    images_and_features,
    logits_layer,
    serialized_backbone,
)
from kseg.models.segmentation_model import SegmentationModel, check_classes


@keras.saving.register_keras_serializable(package="kseg")
class LRASPP(SegmentationModel):
    """Lite R-ASPP on MobileNetV3-Large: segmentation in real time on phones.

    The deepest features, each channel scaled by a factor that comes from the mean of the image, are classified, and so
    are those of stride 8; the sum of both is resized to the image, bilinearly.

    Source: Howard et al. 2019, "Searching for MobileNetV3", https://arxiv.org/abs/1905.02244, in the form of
    torchvision's `lraspp_mobilenet_v3_large`, which takes the mean of the whole image: `LRASPP(21)` has its 3,221,538
    trainable parameters.

    The model comes compiled (Adam, cross-entropy, mean IoU, pixel accuracy): `model.fit(dataset)` trains.

    Args:
        num_classes: number of classes; 1 is the sigmoid case: one logit per pixel, labels 0 and 1.
        backbone: a `kseg.backbones.Backbone` with the levels P3 and P5; None for MobileNetV3-Large with output stride
            16 and the first tensor of each stride.
        input_shape: `(height, width, channels)` of the default backbone; height and width may be None.
        filters: channels that the deepest features are narrowed to.
        input_range: `(low, high)` of the values in the images; None if they come as the backbone should see them.
        ignore_index: the label of void pixels, or None.
        class_names: one name per class, or None.
        kernel_initializer: as in Keras, of the head.
        name: of the model.
        dtype: precision policy, for example `"mixed_bfloat16"`; None takes the current one. The logits are always
            float32.
        **kwargs: `trainable`, and `frozen_batch_norm`: whether batch normalisation keeps what it has.

    Call arguments:
        images: `(B, H, W, channels)`, integer or floating, in `input_range`.

    Returns:
        float32 logits `(B, H, W, num_classes)`.

    Raises:
        TypeError: an unknown keyword argument, or a backbone of another kind.
        ValueError: an argument outside its range, a backbone that lacks a level.

    Example:
        >>> model = kseg.LRASPP(num_classes=21)
        >>> model.fit(images, masks, epochs=10)  # (N, H, W, 3) uint8 and (N, H, W) integers
    """

    def __init__(
        self,
        num_classes,
        backbone=None,
        input_shape=(None, None, 3),
        filters=128,
        input_range=(0, 255),
        ignore_index=255,
        class_names=None,
        kernel_initializer="he_normal",
        name="lraspp",
        dtype=None,
        **kwargs,
    ):
        check_classes(num_classes, ignore_index, class_names)
        kernel_initializer = keras.initializers.get(kernel_initializer)

        # Layers
        with dtype_scope(dtype):
            backbone = as_backbone(backbone, input_shape, _default_backbone)
            check_levels(backbone, ("P3", "P5"), "LRASPP")
            narrow = ConvNorm2D(filters, 1, kernel_initializer=kernel_initializer, name="classifier_cbr_0")
            scale = ConvNorm2D(
                filters,
                1,
                norm=None,
                activation="sigmoid",
                use_bias=False,
                kernel_initializer=kernel_initializer,
                name="classifier_scale_1",
            )

            # Functional model
            images, features = images_and_features(backbone, input_range)
            low, high = features["P3"], features["P5"]
            # In float32: a float16 sum over a large map would overflow.
            mean = keras.layers.GlobalAveragePooling2D(keepdims=True, dtype="float32", name="classifier_scale_0")(high)
            scaled = keras.layers.Multiply(name="classifier_scaled")([narrow(high), scale(mean)])
            scaled = ResizeTo("bilinear", name="classifier_resized")([scaled, low])
            parts = [
                logits_layer(num_classes, 1, "classifier_low_classifier", kernel_initializer)(low),
                logits_layer(num_classes, 1, "classifier_high_classifier", kernel_initializer)(scaled),
            ]
            super().__init__(
                images,
                keras.layers.Add(dtype="float32", name="classifier")(parts),
                num_classes=num_classes,
                ignore_index=ignore_index,
                class_names=class_names,
                input_range=input_range,
                stride=max(backbone.strides.values()),
                upsampling="bilinear",
                name=name,
                **kwargs,
            )

        # Configuration
        self.keep_arguments(
            num_classes=num_classes,
            backbone=serialized_backbone(backbone),
            input_shape=input_shape,
            filters=filters,
            input_range=input_range,
            ignore_index=ignore_index,
            class_names=class_names,
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
        )
        self.compile_default()


def _default_backbone(input_shape):
    return MobileNetV3(input_shape, output_stride=16, levels="first")
