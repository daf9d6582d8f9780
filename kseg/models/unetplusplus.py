"""U-Net++."""

from __future__ import annotations

import keras

from kseg._class_arguments import check_flag
from kseg.backbones import ResNet
from kseg.layers import SkipUpBlock
from kseg.models.backbone_graph import (
    DEFAULT_INPUT_SHAPE,
    as_backbone,
    check_levels,
    images_and_features,
    logits_layer,
    serialized_backbone,
)
from kseg.models.segmentation_model import SegmentationModel, check_classes, dtype_scope
from kseg.models.unet_paths import DECODER_FILTERS, center_convolutions, check_decoder_filters


@keras.saving.register_keras_serializable(package="kseg")
class UNetPlusPlus(SegmentationModel):
    """U-Net++: a U-Net from every level of the backbone, all of which share their blocks and see each other's.

    ```
    P1 ----- x_3_3 --- x_2_3 --- x_1_3 --- x_0_3 --- x_0_4 (size of the image)
           /         /         /         /
    P2 ----- x_2_2 --- x_1_2 --- x_0_2
           /         /         /
    P3 ----- x_1_1 --- x_0_1
           /         /
    P4 ----- x_0_0
           /
    P5
    ```

    Every node resizes what lies below it to its size by repeating pixels, joins it with everything that lies to its
    left in its row, and convolves twice (`SkipUpBlock`). A 3 x 3 convolution gives the logits.

    Source: Zhou et al. 2018, "UNet++: A Nested U-Net Architecture for Medical Image Segmentation",
    https://arxiv.org/abs/1807.10165; on a backbone as in segmentation-models-pytorch, where inner nodes have as many
    channels as the level of the backbone in their row, and those of the lower right edge the decoder's.

    The model comes compiled (Adam, cross-entropy, mean IoU, pixel accuracy): `model.fit(dataset)` trains.

    Args:
        num_classes: number of classes; 1 is the sigmoid case: one logit per pixel, labels 0 and 1.
        backbone: a `kseg.backbones.Backbone` with all levels from P1 on; None for a ResNet-34.
        input_shape: of the images of the default backbone; a given one brings its own.
        decoder_filters: channels of the nodes of the lower right edge, from the deepest up to the image.
        center_block: whether the deepest features go through two more convolutions first, as in the U-Net of
            segmentation-models-pytorch on VGG. Its U-Net++ holds such weights there, too, but never uses them.
        deep_supervision: whether the inner nodes of the uppermost row get logits of their own by 1 x 1 convolutions,
            whose losses are added in training with the weight 1, as the paper adds them.
        norm: `"batch"` or None, in the decoder.
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

    Call arguments:
        images: `(B, H, W, channels)`, integer or floating, in `input_range`.

    Returns:
        float32 logits `(B, H, W, num_classes)`.

    Raises:
        TypeError: a backbone of another kind.
        ValueError: an argument outside its range; a backbone that lacks a level.

    Example:
        >>> model = kseg.UNetPlusPlus(num_classes=2, deep_supervision=True)
        >>> model.fit(images, masks, epochs=10)  # (N, H, W, 3) uint8 and (N, H, W) integers
    """

    def __init__(
        self,
        num_classes,
        backbone=None,
        input_shape=DEFAULT_INPUT_SHAPE,
        decoder_filters=DECODER_FILTERS,
        center_block=False,
        deep_supervision=False,
        norm="batch",
        input_range=(0, 255),
        ignore_index=255,
        class_names=None,
        kernel_initializer="he_normal",
        name="unetplusplus",
        dtype=None,
        **kwargs,
    ):
        check_classes(num_classes, ignore_index, class_names)
        check_flag("center_block", center_block)
        check_flag("deep_supervision", deep_supervision)
        kernel_initializer = keras.initializers.get(kernel_initializer)
        block = {"norm": norm, "kernel_initializer": kernel_initializer}
        given = backbone
        with dtype_scope(dtype):
            backbone = as_backbone(backbone, input_shape, lambda shape: ResNet(34, shape))
            top = check_decoder_filters(backbone.strides, decoder_filters)
            check_levels(backbone, [f"P{level}" for level in range(1, top + 1)], "UNetPlusPlus")
            images, features = images_and_features(backbone, input_range)
            deepest_first = [features[f"P{level}"] for level in range(top, 0, -1)]
            if center_block:
                deepest_first[0] = center_convolutions(deepest_first[0], **block)
            nodes = _nodes(deepest_first, images, decoder_filters, block)
            auxiliary = None
            if deep_supervision:
                row = top - 2
                auxiliary = {
                    f"supervision_{row - start + 1}": (
                        logits_layer(num_classes, 1, f"supervision_{row - start + 1}")(nodes[start, row]),
                        1.0,
                    )
                    for start in range(row, 0, -1)
                }
            super().__init__(
                images,
                logits_layer(num_classes, 3, "segmentation_head_0")(nodes[0, top - 1]),
                num_classes=num_classes,
                ignore_index=ignore_index,
                class_names=class_names,
                input_range=input_range,
                stride=max(backbone.strides.values()),
                auxiliary=auxiliary,
                name=name,
                **kwargs,
            )

        self.keep_arguments(
            num_classes=num_classes,
            backbone=None if given is None else serialized_backbone(backbone),
            input_shape=input_shape,
            decoder_filters=decoder_filters,
            center_block=center_block,
            deep_supervision=deep_supervision,
            norm=norm,
            input_range=input_range,
            ignore_index=ignore_index,
            class_names=class_names,
            kernel_initializer=keras.initializers.serialize(kernel_initializer),
        )
        self.compile_default()


def _nodes(features, images, filters, block):
    """The nodes by (the level from which their U-Net starts, row), both counted from the deepest."""
    rows = len(features) - 1
    nodes = {}
    for row in range(rows):
        skip = features[row + 1]
        for start in range(row, -1, -1):
            below = features[row] if start == row else nodes[start, row - 1]
            left = [nodes[other, row] for other in range(start + 1, row + 1)]
            channels = skip.shape[-1] if start else filters[row]
            step = SkipUpBlock(channels, name=f"decoder_blocks_x_{start}_{row}", **block)
            nodes[start, row] = step([below, *left, skip])
    below = nodes[0, rows - 1] if rows else features[0]
    step = SkipUpBlock(filters[rows], join=False, name=f"decoder_blocks_x_0_{rows}", **block)
    nodes[0, rows] = step([below, images])
    return nodes
