"""torchvision's names of the tensors of detectors."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import keras

from kseg.layers import BoxHead, FeaturePyramid, MaskHead, RPNHead
from kseg.models import FasterRCNN, MaskRCNN
from kseg.weights.backbone_slots import backbone_slots
from kseg.weights.slots import Slot, convolution, dense, sequence

BACKBONE = "backbone.body."
PARTS = ("backbone.fpn.", "rpn.", "roi_heads.")

# How files from before torchvision 0.13 name what later ones name otherwise; its own published ones are such.
_OLD_NAMES = (
    (
        re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)"),
        lambda found: f"{found[1]}.0.{found[2]}",
    ),
    (re.compile(r"rpn\.head\.conv\.(weight|bias)"), lambda found: f"rpn.head.conv.0.0.{found[1]}"),
    (
        re.compile(r"roi_heads\.mask_head\.mask_fcn(\d+)\.(weight|bias)"),
        lambda found: f"roi_heads.mask_head.{int(found[1]) - 1}.0.{found[2]}",
    ),
)


def current_name(name: str) -> str:
    """The name that a tensor has today."""
    for pattern, renamed in _OLD_NAMES:
        if found := pattern.fullmatch(name):
            return renamed(found)
    return name


@functools.singledispatch
def model_slots(model: keras.Model) -> Iterator[Slot]:
    """The slots of a detector: backbone, pyramid and heads.

    Raises:
        TypeError: torchvision has no such detector.
    """
    raise TypeError(f"torchvision has no detector like {type(model).__name__}, so no weights for it")


@model_slots.register
def _(model: FasterRCNN):
    yield from backbone_slots(model.backbone, BACKBONE)
    yield from _pyramid(model.pyramid)
    yield from _rpn_head(model.rpn_head)
    yield from _box_head(model.box_head, model.box_pool.output_size)


@model_slots.register
def _(model: MaskRCNN):
    yield from model_slots.dispatch(FasterRCNN)(model)
    yield from _mask_head(model.mask_head)


def _pyramid(pyramid: FeaturePyramid):
    for index, (lateral, output) in enumerate(zip(pyramid.lateral, pyramid.outputs, strict=True)):
        yield from sequence(f"backbone.fpn.inner_blocks.{index}", lateral)
        yield from sequence(f"backbone.fpn.layer_blocks.{index}", output)


def _rpn_head(head: RPNHead):
    for index, layer in enumerate(head.convolutions):
        yield from convolution(f"rpn.head.conv.{index}.0", layer)
    yield from convolution("rpn.head.cls_logits", head.objectness)
    yield from convolution("rpn.head.bbox_pred", head.deltas)


def _box_head(head: BoxHead, bins: int):
    for index, layer in enumerate(head.convolutions):
        yield from sequence(f"roi_heads.box_head.{index}", layer)
    for index, layer in enumerate(head.dense):
        # Numbered on after the convolutions and a step that flattens, or from 6 on, as in VGG.
        number = len(head.convolutions) + 1 + 2 * index
        name = f"roi_heads.box_head.{number}" if head.convolutions else f"roi_heads.box_head.fc{6 + index}"
        yield from dense(name, layer, positions=None if index else (bins, bins))
    yield from dense("roi_heads.box_predictor.cls_score", head.logits, per_class=True, background=1)
    yield from dense("roi_heads.box_predictor.bbox_pred", head.deltas, per_class=True)


def _mask_head(head: MaskHead):
    for index, layer in enumerate(head.convolutions):
        yield from sequence(f"roi_heads.mask_head.{index}", layer)
    yield from convolution("roi_heads.mask_predictor.conv5_mask", head.upsampling)
    yield from convolution("roi_heads.mask_predictor.mask_fcn_logits", head.logits, per_class=True, background=1)
