"""DeepLabV3."""

from __future__ import annotations

import keras

from kseg.layers import ASPP, ConvNorm2D
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
from kseg.models.fcn import default_backbone
from kseg.models.fcn_head import AUXILIARY_WEIGHT, fcn_head
from kseg.models.segmentation_model import SegmentationModel, check_classes, dtype_scope

AUXILIARY_DROPOUT = 0.1


@keras.saving.register_keras_serializable(package="kseg")
class DeepLabV3(SegmentationModel):
    """DeepLabV3: a dilated backbone, atrous spatial pyramid pooling, and upsampling to the image.

    This is torchvision's form of it. With the default backbone, 21 classes and the auxiliary head it has 42,004,074
    trainable parameters, as torchvision's `deeplabv3_resnet50` (60,996,202 on a ResNet-101, 39,638,869 on a ResNet-50
    without the head).

    Source: Chen, Papandreou, Schroff, Adam: "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017,
    https://arxiv.org/abs/1706.05587. The paper's rates are (6, 12, 18) at an output stride of 16 and twice that at 8;
    torchvision has (12, 24, 36) at every output stride.

    The model comes compiled (Adam, cross-entropy, mean IoU, pixel accuracy): `model.fit(dataset)` trains.

    Args:
        num_classes: number of classes; 1 is the sigmoid case: one logit per pixel, labels 0 and 1.
        backbone: a `kseg.backbones.Backbone` with the level P5, and the auxiliary level; None:
            `ResNet(50, output_stride=8)`.
        input_shape: `(height, width, channels)` of the default backbone; height and width may be None.
        auxiliary: whether a second head, that of `FCN` on a level of the backbone, helps the training; its loss counts
            half.
        auxiliary_level: the name of that level.
        filters: channels of the pyramid pooling and of the convolution after it.
        rates: dilation rates of the pyramid pooling.
        dropout: its rate, after the pyramid pooling.
        upsampling: how the logits are brought to the size of the image: `"bilinear"`, as torchvision does, or
            `"align_corners"`, as segmentation-models-pytorch does (whose network has, besides,
            `backbone=ResNet(depth, output_stride=8, dilate_first_block=True)`).
        input_range: `(low, high)` of the values in the images. The model brings them to 0..1 and applies the backbone's
            statistics, or to -1..1 where it has none; None if they come as the network should see them.
        ignore_index: the label of void pixels, or None.
        class_names: one name per class, or None.
        kernel_initializer: of the convolutions after the backbone, as in Keras.
        name: of the model.
        dtype: precision policy; None takes the current one. The logits are always float32.
        **kwargs: `trainable`, and `frozen_batch_norm`: whether batch normalisation keeps what it has.

    Call arguments:
        images: `(B, H, W, channels)`, integer or floating, in `input_range`. In training the batch must be larger than
            1 for the normalisation of the pooled branch to mean anything.

    Returns:
        float32 logits `(B, H, W, num_classes)`.

    Raises:
        TypeError: an unknown keyword argument, or a backbone of another kind.
        ValueError: an argument outside its range; a backbone without the levels.

    Example:
        >>> model = kseg.DeepLabV3(num_classes=21, auxiliary=True)
        >>> model.fit(images, masks, epochs=10)  # (N, H, W, 3) uint8 and (N, H, W) integers
    """

    def __init__(
        self,
        num_classes,
        backbone=None,
        input_shape=DEFAULT_INPUT_SHAPE,
        auxiliary=False,
        auxiliary_level="P4",
        filters=256,
        rates=(12, 24, 36),
        dropout=0.5,
        upsampling="bilinear",
        input_range=(0, 255),
        ignore_index=255,
        class_names=None,
        kernel_initializer="he_normal",
        name="deeplabv3",
        dtype=None,
        **kwargs,
    ):
        check_classes(num_classes, ignore_index, class_names)
        check_rate("dropout", dropout)
        if upsampling not in ("bilinear", "align_corners"):
            raise ValueError(f'upsampling must be "bilinear" or "align_corners"; got {upsampling!r}')
        kernel_initializer = keras.initializers.get(kernel_initializer)
        with dtype_scope(dtype):
            given, backbone = backbone, as_backbone(backbone, input_shape, default_backbone)
            check_levels(backbone, (auxiliary_level, "P5") if auxiliary else ("P5",), "DeepLabV3")
            images, features = images_and_features(backbone, input_range)
            pooled = ASPP(
                filters,
                rates,
                dropout=dropout,
                kernel_initializer=kernel_initializer,
                norm_epsilon=1e-5,
                name="classifier_0",
            )(features["P5"])
            pooled = ConvNorm2D(
                filters, 3, kernel_initializer=fresh_initializer(kernel_initializer), name="classifier_1"
            )(pooled)
            heads = None
            if auxiliary:
                level = features[auxiliary_level]
                head = fcn_head(level, num_classes, AUXILIARY_DROPOUT, kernel_initializer, "aux_classifier")
                heads = {"auxiliary": (head, AUXILIARY_WEIGHT)}
            super().__init__(
                images,
                logits_layer(num_classes, 1, "classifier_4")(pooled),
                num_classes=num_classes,
                ignore_index=ignore_index,
                class_names=class_names,
                input_range=input_range,
                stride=max(backbone.strides.values()),
                upsampling=upsampling,
                auxiliary=heads,
                name=name,
                **kwargs,
            )
        self.keep_arguments(
            num_classes=num_classes,
            backbone=None if given is None else serialized_backbone(backbone),
            input_shape=input_shape,
            auxiliary=auxiliary,
            auxiliary_level=auxiliary_level,
            filters=filters,
            rates=rates,
            dropout=dropout,
            upsampling=upsampling,
            input_range=input_range,
            ignore_index=ignore_index,
            class_names=class_names,
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
        )
        self.compile_default()
