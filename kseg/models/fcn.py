"""Fully convolutional networks."""

from __future__ import annotations

import keras

from kseg.backbones import ResNet
from kseg.models.backbone_graph import (
    DEFAULT_INPUT_SHAPE,
    as_backbone,
    check_levels,
    check_rate,
    images_and_features,
    images_and_normalized,
    serialized_backbone,
)
from kseg.models.fcn_head import AUXILIARY_WEIGHT, fcn_head
from kseg.models.fcn_vgg import check_published, default_vgg, published_logits
from kseg.models.segmentation_model import SegmentationModel, check_classes, dtype_scope


@keras.saving.register_keras_serializable(package="kseg")
class FCN(SegmentationModel):
    """FCN: a backbone that classifies each pixel of its last level, upsampled to the image.

    Without a `form` this is torchvision's, on a dilated ResNet: two convolutions on P5, bilinear upsampling to the
    image. With the default backbone, 21 classes and the auxiliary head it has 35,322,218 trainable parameters, as
    torchvision's `fcn_resnet50` (54,314,346 on a ResNet-101, 32,957,013 on a ResNet-50 without the head).

    `form="32s"`, `"16s"` and `"8s"` are the published networks on VGG-16, whose classifier has become convolutional:
    scores of stride 32, joined with those of the poolings of stride 16 ("16s", "8s") and 8 ("8s"), and enlarged by
    transposed convolutions that begin as bilinear interpolation. As published, 100 zeros stand around the image, which
    may therefore be as small as it likes, poolings keep odd rows and columns, and crops are fixed numbers of pixels.
    With 21 classes they have 136,152,917, 134,815,994 and 134,489,759 trainable parameters. Unlike there, scores begin
    at random instead of at 0.

    Source: Long, Shelhamer, Darrell: "Fully Convolutional Networks for Semantic Segmentation", 2015,
    https://arxiv.org/abs/1411.4038; Shelhamer, Long, Darrell 2017, https://arxiv.org/abs/1605.06211.

    The model comes compiled (Adam, cross-entropy, mean IoU, pixel accuracy): `model.fit(dataset)` trains.

    Args:
        num_classes: number of classes; 1 is the sigmoid case: one logit per pixel, labels 0 and 1.
        backbone: a `kseg.backbones.Backbone` with the level P5, and P4 for the auxiliary head; None:
            `ResNet(50, output_stride=8)`. With a `form`: a `kseg.backbones.VGG` with `pool_padding="same"`; None:
            that of depth 16.
        input_shape: `(height, width, channels)` of the default backbone; height and width may be None.
        auxiliary: whether a second head on P4, whose loss counts half, helps the training.
        dropout: its rate, before the last convolution, or with a `form` after each layer of VGG's classifier; None:
            0.1 and 0.5.
        input_range: `(low, high)` of the values in the images. The model brings them to 0..1 and applies the backbone's
            statistics, or to -1..1 where it has none; None if they come as the network should see them.
        ignore_index: the label of void pixels, or None.
        class_names: one name per class, or None.
        kernel_initializer: of the head's convolutions, as in Keras.
        form: None, `"32s"`, `"16s"` or `"8s"`.
        classifier_filters: channels of the layers that were VGG's classifier, if there is a `form`.
        name: of the model.
        dtype: precision policy; None takes the current one. The logits are always float32.
        **kwargs: `trainable`, and `frozen_batch_norm`: whether batch normalisation keeps what it has.

    Call arguments:
        images: `(B, H, W, channels)`, integer or floating, in `input_range`.

    Returns:
        float32 logits `(B, H, W, num_classes)`.

    Raises:
        TypeError: an unknown keyword argument, or a backbone of another kind.
        ValueError: an argument outside its range; a backbone without the levels.

    Example:
        >>> model = kseg.FCN(num_classes=21, auxiliary=True)
        >>> model = kseg.FCN(num_classes=21, form="8s")
        >>> model.fit(images, masks, epochs=10)  # (N, H, W, 3) uint8 and (N, H, W) integers
    """

    def __init__(
        self,
        num_classes,
        backbone=None,
        input_shape=DEFAULT_INPUT_SHAPE,
        auxiliary=False,
        dropout=None,
        input_range=(0, 255),
        ignore_index=255,
        class_names=None,
        kernel_initializer="he_normal",
        form=None,
        classifier_filters=4096,
        name="fcn",
        dtype=None,
        **kwargs,
    ):
        check_classes(num_classes, ignore_index, class_names)
        if dropout is not None:
            check_rate("dropout", dropout)
        kernel_initializer = keras.initializers.get(kernel_initializer)
        with dtype_scope(dtype):
            given = backbone
            backbone = as_backbone(backbone, input_shape, default_backbone if form is None else default_vgg)
            head = {"num_classes": num_classes, "kernel_initializer": kernel_initializer}
            if form is None:
                head["dropout"] = 0.1 if dropout is None else dropout
                check_levels(backbone, ("P4", "P5") if auxiliary else ("P5",), "FCN")
                images, features = images_and_features(backbone, input_range)
                logits = fcn_head(features["P5"], name="classifier", **head)
                options = {"upsampling": "bilinear"}
                if auxiliary:
                    logits_of_p4 = fcn_head(features["P4"], name="aux_classifier", **head)
                    options["auxiliary"] = {"auxiliary": (logits_of_p4, AUXILIARY_WEIGHT)}
            else:
                head["dropout"] = 0.5 if dropout is None else dropout
                check_published(form, backbone, classifier_filters, auxiliary)
                images, normalized = images_and_normalized(backbone, input_range)
                head.update(form=form, classifier_filters=classifier_filters)
                logits, options = published_logits(images, normalized, backbone, **head), {}
            super().__init__(
                images,
                logits,
                num_classes=num_classes,
                ignore_index=ignore_index,
                class_names=class_names,
                input_range=input_range,
                stride=max(backbone.strides.values()),
                name=name,
                **options,
                **kwargs,
            )
        self.keep_arguments(
            num_classes=num_classes,
            backbone=None if given is None else serialized_backbone(backbone),
            input_shape=input_shape,
            auxiliary=auxiliary,
            dropout=dropout,
            input_range=input_range,
            ignore_index=ignore_index,
            class_names=class_names,
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
            form=form,
            classifier_filters=classifier_filters,
        )
        self.compile_default()


def default_backbone(input_shape):
    """The backbone that torchvision's FCN and DeepLabV3 have."""
    return ResNet(50, input_shape, output_stride=8)
