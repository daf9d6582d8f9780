"""Mask R-CNN on a feature pyramid."""

from __future__ import annotations

import keras
import tensorflow as tf

import kseg_ops
from kseg.layers import MaskHead, MultilevelRoIAlign
from kseg.models import region_losses
from kseg.models.backbone_graph import DEFAULT_INPUT_SHAPE
from kseg.models.faster_rcnn import SAMPLES_PER_BIN, FasterRCNN
from kseg_ops import _graphs

MASK_BINS = 14  # of the features; the masks have twice as many
MASK_CONVOLUTIONS = 4
STEP = 8


@keras.saving.register_keras_serializable(package="kseg")
class MaskRCNN(FasterRCNN):
    """Instance segmentation: boxes, classes, scores and masks of objects.

    `kseg.FasterRCNN`, whose docstring tells all about arguments, images and targets, with a further head that draws a
    mask in the frame of each box. Without further arguments it is torchvision's `maskrcnn_resnet50_fpn`, whose weights
    `kseg.weights.load` reads; `form="v2"` is its `maskrcnn_resnet50_fpn_v2`, whose mask head is normalised, too. With
    90 classes the first has 44,401,393 parameters beside the factors and offsets of its batch normalisation and
    44,454,513 with them, the second 46,359,409.

    Source: He et al. 2017, "Mask R-CNN", https://arxiv.org/abs/1703.06870.

    The model comes compiled: `model.fit(dataset)` trains on a data set of `(images, targets)`, and logs
    `rpn_objectness_loss`, `rpn_box_loss`, `class_loss`, `box_loss` and `mask_loss`. To the targets of `FasterRCNN`
    belong

    - `masks`, uint8 `(B, N, H, ceil(W / 8))`: those of the objects, a bit per pixel, as `kseg_ops.pack_masks` makes
      them, of the size of the images with padding.

    Images are padded inside the model and not resized: see `FasterRCNN`.

    Args:
        num_classes: number of classes of objects. The background is not one of them: torchvision's 91 are 90 here.
        backbone: as in `FasterRCNN`, like all that follow.
        input_shape: see there.
        name: of the model.
        **kwargs: the other arguments of `FasterRCNN`: `form`, `max_detections`, `input_range`, `dtype`, ...

    Attributes:
        paste_mode: the `mode` of `kseg_ops.paste_masks` that goes with what the masks were trained towards:
            `"detectron2"` with `aligned=True`, else `"torchvision"`, which makes masks of small objects up to a pixel
            larger all around.

    Call arguments:
        images: `(B, H, W, channels)`, integer or floating, in `input_range`.
        sizes: int `(B, 2)`, heights and widths without padding, or None.

    Returns:
        A dictionary of `boxes`, float32 `(B, D, 4)`, `scores`, float32 `(B, D)`, in falling order, `classes`, int32
        `(B, D)`, and `masks`, float32 `(B, D, 28, 28)`: probabilities in the frame of the box, which
        `kseg_ops.paste_masks` brings to the image. Free places hold zeros, and -1 for the class.

    Raises:
        TypeError: a backbone of another kind; an argument that nothing reads.
        ValueError: an argument outside its range; a backbone without the levels.

    Example:
        >>> model = kseg.MaskRCNN(num_classes=3)
        >>> model.fit(dataset, epochs=10)
        >>> found = model.predict(images)
        >>> size = images.shape[1:3]
        >>> masks = kseg_ops.paste_masks(found["masks"][0], found["boxes"][0], size, mode=model.paste_mode)
    """

    loss_names = (*FasterRCNN.loss_names, "mask_loss")
    target_names = (*FasterRCNN.target_names, "masks")

    def __init__(self, num_classes, backbone=None, input_shape=DEFAULT_INPUT_SHAPE, name="mask_rcnn", **kwargs):
        super().__init__(num_classes, backbone, input_shape, name=name, **kwargs)

    @property
    def paste_mode(self):
        """How masks are to be pasted."""
        return "detectron2" if self.mask_pool.aligned else "torchvision"

    def _make_more_layers(self, pyramid_filters, parts):
        self.mask_pool = MultilevelRoIAlign(MASK_BINS, SAMPLES_PER_BIN, self.box_pool.aligned, name="mask_pool")
        self.mask_head = MaskHead(
            self.num_classes, (pyramid_filters,) * MASK_CONVOLUTIONS, pyramid_filters, parts.norm, name="mask_head"
        )

    def build(self, input_shape):
        self.mask_head.build((None, None, MASK_BINS, MASK_BINS, self.pyramid.filters))
        super().build(input_shape)

    def detect(self, stage):
        found = super().detect(stage)
        there = found["classes"] >= 0
        count = _occupied(there)
        features = self._pooled(self.mask_pool, stage, found["boxes"][:, :count])
        logits = self.mask_head(features, found["classes"][:, :count], training=False)
        masks = tf.where(there[:, :count, None, None], tf.sigmoid(logits), 0.0)
        places = there.shape[1]
        masks = tf.pad(masks, [[0, 0], [0, places - count], [0, 0], [0, 0]])
        return {**found, "masks": tf.ensure_shape(masks, [None, places, *masks.shape[2:]])}

    def losses_of(self, stage, targets, training):
        losses, regions = self._box_losses(stage, targets, training)
        # Positive samples come first.
        positive = regions["positive"][:, : max(self.box_sampler.max_positives, 1)]
        count = _occupied(positive)
        boxes, positive, classes, matches = (
            regions[name][:, :count] for name in ("boxes", "positive", "classes", "matches")
        )
        features = self._pooled(self.mask_pool, stage, boxes)
        logits = self.mask_head(features, classes, training=training)
        masks = kseg_ops.crop_masks(
            targets["masks"],
            boxes,
            2 * MASK_BINS,
            tf.where(positive, matches, -1),
            width=stage["width"],
            aligned=self.mask_pool.aligned,
        )
        return {**losses, "mask_loss": region_losses.mask_loss(logits, masks, positive)}


def _occupied(there):
    """How many places at the front of `(B, N)` hold all that is there in any image, in steps of 8.

    A mask costs as much as a tenth of a megapixel in the backbone, and most places are free most of the time. Where XLA
    may compile the graph, which needs sizes that are known beforehand, it is all places.
    """
    places = there.shape[1]
    if _graphs.is_for_xla("multilevel_roi_align"):
        return places
    most = tf.reduce_max(tf.reduce_sum(tf.cast(there, tf.int32), axis=1))
    return tf.minimum(-(-tf.maximum(most, 1) // STEP) * STEP, places)
