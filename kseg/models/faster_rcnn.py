"""Faster R-CNN on a feature pyramid."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg._dtype_scope import dtype_scope
from kseg.backbones import ResNet
from kseg.layers import (
    AnchorGenerator,
    BoxHead,
    DetectionPostprocess,
    FeaturePyramid,
    MultilevelRoIAlign,
    Normalize,
    PadToStride,
    ProposalLayer,
    RPNHead,
    TargetSampler,
)
from kseg.models import region_losses
from kseg.models.backbone_graph import DEFAULT_INPUT_SHAPE, as_backbone, level_number, serialized_backbone
from kseg.models.detector_arguments import check_detector_arguments, check_number_of_levels
from kseg.models.region_forms import form_of
from kseg.models.region_model import RegionModel

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
BOX_BINS = 7
SAMPLES_PER_BIN = 2
ANCHOR_SIZE = 8  # in strides: 32 pixels on P2, 512 on P6
LEVELS = (2, 5)  # the first and the last that the pyramid is made of


@keras.saving.register_keras_serializable(package="kseg")
class FasterRCNN(RegionModel):
    """Object detection: boxes, classes and scores.

    A feature pyramid on a backbone, a region proposal network that looks for objects at anchors of every level, and a
    head that classifies what it found and moves the boxes. Without further arguments it is torchvision's
    `fasterrcnn_resnet50_fpn`, whose weights `kseg.weights.load` reads; `form="v2"` is its `fasterrcnn_resnet50_fpn_v2`.

    Source: Ren et al. 2015, "Faster R-CNN", https://arxiv.org/abs/1506.01497; Lin et al. 2017, "Feature Pyramid
    Networks for Object Detection", https://arxiv.org/abs/1612.03144.

    The model comes compiled: `model.fit(dataset)` trains on a data set of `(images, targets)`, and logs
    `rpn_objectness_loss`, `rpn_box_loss`, `class_loss` and `box_loss`. Targets are a dictionary of

    - `boxes`, float32 `(B, N, 4)`: `x1, y1, x2, y2` in pixels, `x2` the right edge;
    - `classes`, int `(B, N)`, 0 to `num_classes - 1`; -1 marks padding;
    - `crowd`, bool `(B, N)`, if there is any: regions of many objects, which count neither as objects nor as
      background;
    - `sizes`, int `(B, 2)`, if images were padded at the bottom and the right: their heights and widths without that.

    Images are taken in the size that they have, padded with zeros to a multiple of the largest stride inside the model;
    torchvision resizes them first, to a shorter side of 800 pixels and a longer one of at most 1333, which here is
    left to the data pipeline. Published weights want images of about that size.

    Args:
        num_classes: number of classes of objects. The background is not one of them: torchvision's 91 are 90 here.
        backbone: a `kseg.backbones.Backbone` whose levels from P2 to P5, or those of them that it has, have stride
            `2**level`; None for a ResNet-50.
        input_shape: of the images of the default backbone; a given one brings its own.
        form: `"v1"`, or `"v2"`: normalised pyramid, two convolutions in the region proposal network, four normalised
            ones in the box head.
        pyramid_filters: channels of the pyramid and of the convolutions in the heads.
        head_units: of each hidden dense layer in the box head.
        anchor_sizes: in pixels, for each level of the pyramid, of which there is one more than of the backbone's: a
            number or several; None for 8 times the stride.
        aspect_ratios: of anchors, height by width.
        aligned: whether pixel centres lie at half-integer coordinates, as in detectron2 and everywhere else in kseg;
            False as in torchvision and its weights, where they lie at whole ones when regions are cut out.
        num_proposals: how many regions of an image are looked at, at inference; each level gives at most as many.
        training_proposals: likewise in training.
        rpn_samples: how many anchors of an image the region proposal network learns from.
        box_samples: how many regions the box head learns from.
        score_threshold: detections have a higher score.
        iou_threshold: detections of one class do not overlap more.
        max_detections: `D`, how many an image has at most.
        input_range: `(low, high)` of the values in the images, which the model maps to what the backbone was trained
            on, or to -1..1; None if they come as the network should see them.
        class_names: one name per class, or None.
        frozen_batch_norm: whether batch normalisation keeps what it has: for published weights, which were trained so,
            and batches of a few images. Random weights need it to learn.
        seed: of the sampling, an int, or None for Keras's global seed.
        name: of the model.
        dtype: precision policy, for example `"mixed_bfloat16"`; None takes the current one. Boxes, scores and losses
            are float32 under all.
        **kwargs: `trainable`.

    Call arguments:
        images: `(B, H, W, channels)`, integer or floating, in `input_range`.
        sizes: int `(B, 2)`, heights and widths without padding, or None. `predict` on a data set reads them off the
            targets.

    Returns:
        A dictionary of `boxes`, float32 `(B, D, 4)`, `scores`, float32 `(B, D)`, in falling order, and `classes`, int32
        `(B, D)`. Free places hold zeros, and -1 for the class.

    Raises:
        TypeError: a backbone of another kind.
        ValueError: an argument outside its range; a backbone without the levels.

    Example:
        >>> model = kseg.FasterRCNN(num_classes=3)
        >>> model.fit(dataset, epochs=10)
        >>> model.predict(images)["boxes"].shape
        (2, 100, 4)
    """

    loss_names = ("rpn_objectness_loss", "rpn_box_loss", "class_loss", "box_loss")
    target_names = ("boxes", "classes")

    def __init__(
        self,
        num_classes,
        backbone=None,
        input_shape=DEFAULT_INPUT_SHAPE,
        form="v1",
        pyramid_filters=256,
        head_units=1024,
        anchor_sizes=None,
        aspect_ratios=(0.5, 1.0, 2.0),
        aligned=False,
        num_proposals=1000,
        training_proposals=2000,
        rpn_samples=256,
        box_samples=512,
        score_threshold=0.05,
        iou_threshold=0.5,
        max_detections=100,
        input_range=(0, 255),
        class_names=None,
        frozen_batch_norm=False,
        seed=None,
        name="faster_rcnn",
        dtype=None,
        **kwargs,
    ):
        check_detector_arguments(
            num_classes,
            class_names,
            input_shape,
            input_range,
            counts={
                "pyramid_filters": pyramid_filters,
                "head_units": head_units,
                "num_proposals": num_proposals,
                "training_proposals": training_proposals,
                "rpn_samples": rpn_samples,
                "box_samples": box_samples,
                "max_detections": max_detections,
            },
            shares={"score_threshold": score_threshold, "iou_threshold": iou_threshold},
            flags={"aligned": aligned, "frozen_batch_norm": frozen_batch_norm},
            anchor_sizes=anchor_sizes,
            aspect_ratios=aspect_ratios,
        )
        parts = form_of(form)
        given = backbone
        with dtype_scope(dtype):
            super().__init__(
                num_classes=num_classes, class_names=class_names, input_range=input_range, name=name, **kwargs
            )
            self.backbone = as_backbone(backbone, input_shape, lambda shape: ResNet(50, shape))
            self.levels = _levels(self.backbone)
            self.normalize = _normalize(self.backbone, input_range)
            self.pad = PadToStride(self.backbone.strides[self.levels[-1]], value=0, name="pad")
            self.pyramid = FeaturePyramid(pyramid_filters, parts.norm, name="pyramid")
            sizes = _anchor_sizes(self.levels) if anchor_sizes is None else anchor_sizes
            check_number_of_levels(sizes, self.levels)
            self.anchor_generator = AnchorGenerator(sizes, aspect_ratios, name="anchors")
            self.rpn_head = RPNHead(self.anchor_generator.per_position, parts.rpn_depth, name="rpn_head")
            self.proposal_layer = ProposalLayer(
                num_proposals, num_proposals, training_proposals, training_proposals, name="proposals"
            )
            self.box_pool = MultilevelRoIAlign(BOX_BINS, SAMPLES_PER_BIN, aligned, name="box_pool")
            self.box_head = BoxHead(
                num_classes,
                (pyramid_filters,) * parts.box_convolutions,
                (head_units,) * parts.box_units,
                parts.norm,
                name="box_head",
            )
            self.postprocess = DetectionPostprocess(
                score_threshold, iou_threshold, max_detections, box_weights=BOX_WEIGHTS, name="detections"
            )
            self.rpn_sampler = TargetSampler(rpn_samples, low_quality_matches=True, seed=seed, name="rpn_sampler")
            self.box_sampler = TargetSampler(
                box_samples, 0.25, 0.5, 0.5, add_objects=True, box_weights=BOX_WEIGHTS, seed=seed, name="box_sampler"
            )
            self._make_more_layers(pyramid_filters, parts)
        self.finish(
            input_shape,
            frozen_batch_norm,
            num_classes=num_classes,
            backbone=None if given is None else serialized_backbone(self.backbone),
            form=form,
            pyramid_filters=pyramid_filters,
            head_units=head_units,
            anchor_sizes=anchor_sizes,
            aspect_ratios=aspect_ratios,
            aligned=aligned,
            num_proposals=num_proposals,
            training_proposals=training_proposals,
            rpn_samples=rpn_samples,
            box_samples=box_samples,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
            input_range=input_range,
            class_names=class_names,
            seed=seed,
        )

    def _make_more_layers(self, pyramid_filters, parts):
        """For a subclass with further heads."""

    def build(self, input_shape):
        features = self.backbone.compute_output_shape((None, *self.backbone.input_shape[1:]))
        levels = {level: features[level] for level in self.levels}
        self.pyramid.build(levels)
        maps = self.pyramid.compute_output_shape(levels)
        self.rpn_head.build(maps)
        self.box_head.build((None, None, BOX_BINS, BOX_BINS, self.pyramid.filters))
        for layer in self.layers:
            if not layer.built:
                layer.build(input_shape)
        self.built = True

    # Stages

    def first_stage(self, images, sizes, training):
        channels = self.backbone.input_shape[-1]
        if not images.shape.is_compatible_with([None, None, None, channels]):
            raise ValueError(f"images must be (B, H, W, {channels}), as the backbone has it; got {tuple(images.shape)}")
        if sizes is not None:
            sizes = tf.convert_to_tensor(sizes)
            if not sizes.shape.is_compatible_with([images.shape[0], 2]):
                raise ValueError(
                    f"sizes must be (B, 2), heights and widths, for images {tuple(images.shape)}; got "
                    f"{tuple(sizes.shape)}"
                )
        images = self.normalize(images)
        height, width = tf.shape(images)[1], tf.shape(images)[2]
        if sizes is None:
            sizes = tf.broadcast_to(tf.stack([height, width]), [tf.shape(images)[0], 2])
        else:
            sizes = tf.cast(sizes, tf.int32)
            rows, columns = tf.range(height) < sizes[:, :1], tf.range(width) < sizes[:, 1:]
            inside = rows[:, :, None, None] & columns[:, None, :, None]
            images = tf.where(inside, images, tf.zeros([], images.dtype))
        images = self.pad(images)
        features = self.backbone(images, training=training)
        pyramid = self.pyramid({level: features[level] for level in self.levels}, training=training)
        objectness, deltas = self.rpn_head(pyramid)
        anchors = self.anchor_generator((images, pyramid))
        return {
            "pyramid": pyramid,
            "anchors": anchors,
            "objectness": objectness,
            "deltas": deltas,
            "sizes": sizes,
            "width": width,
        }

    def _proposals(self, stage, training=False):
        return self.proposal_layer(
            {name: stage[name] for name in ("anchors", "objectness", "deltas", "sizes")}, training=training
        )

    def _pooled(self, layer, stage, boxes):
        return layer(({level: stage["pyramid"][level] for level in self.levels}, boxes))

    def detect(self, stage):
        proposals = self._proposals(stage)
        logits, deltas = self.box_head(self._pooled(self.box_pool, stage, proposals["boxes"]), training=False)
        return self.postprocess(
            {
                "logits": logits,
                "deltas": deltas,
                "proposals": proposals["boxes"],
                "num_valid": proposals["num_valid"],
                "sizes": stage["sizes"],
            }
        )

    def losses_of(self, stage, targets, training):
        losses, _ = self._box_losses(stage, targets, training)
        return losses

    def _box_losses(self, stage, targets, training):
        """The losses of the region proposal network and of the box head, and the regions that the latter saw."""
        images = tf.shape(stage["sizes"])[0]
        levels = list(stage["anchors"])
        anchors = tf.concat([stage["anchors"][level] for level in levels], axis=0)
        objectness = tf.concat([tf.reshape(stage["objectness"][level], [images, -1]) for level in levels], axis=1)
        deltas = tf.concat([tf.reshape(stage["deltas"][level], [images, -1, 4]) for level in levels], axis=1)
        drawn = self.rpn_sampler(anchors, targets)
        objectness = tf.gather(objectness, drawn["indices"], batch_dims=1)
        deltas = tf.gather(deltas, drawn["indices"], batch_dims=1)

        proposals = self._proposals(stage, training=training)
        regions = self.box_sampler(proposals["boxes"], targets, proposals["num_valid"])
        features = self._pooled(self.box_pool, stage, regions["boxes"])
        logits, moves = self.box_head(features, training=training)
        moves = tf.gather(moves, regions["classes"] + 1, batch_dims=2)
        losses = {
            "rpn_objectness_loss": region_losses.objectness_loss(objectness, drawn),
            "rpn_box_loss": region_losses.box_loss(deltas, drawn),
            "class_loss": region_losses.class_loss(logits, regions),
            "box_loss": region_losses.box_loss(moves, regions),
        }
        return losses, regions


def _levels(backbone):
    """The levels of a backbone that the pyramid is made of.

    Raises:
        ValueError: there are none, or one has a stride that does not fit its name.
    """
    levels = [level for level in backbone.strides if LEVELS[0] <= level_number(level) <= LEVELS[1]]
    if not levels:
        raise ValueError(f"backbone must have some of the levels P2 to P5; it has {', '.join(backbone.strides)}")
    for level in levels:
        if backbone.strides[level] != 2 ** level_number(level):
            raise ValueError(
                f"backbone must have stride {2 ** level_number(level)} on {level}, which regions are cut out of; it "
                f"has {backbone.strides[level]}: build it without dilation (output_stride=32)"
            )
    numbers = [level_number(level) for level in levels]
    if numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise ValueError(f"backbone must have every level between its first and its last; it has {', '.join(levels)}")
    return levels


def _normalize(backbone, input_range):
    """What brings images to what the backbone should see; in the compute dtype."""
    if input_range is None:
        # Nothing but the dtype changes.
        return Normalize((0, 1), (0, 1), name="normalize")
    if backbone.pixel_mean is None or len(backbone.pixel_mean) != backbone.input_shape[-1]:
        return Normalize(input_range, name="normalize")
    return Normalize(input_range, (0, 1), backbone.pixel_mean, backbone.pixel_std, name="normalize")


def _anchor_sizes(levels):
    first, last = level_number(levels[0]), level_number(levels[-1])
    return tuple(ANCHOR_SIZE * 2**number for number in range(first, last + 2))
