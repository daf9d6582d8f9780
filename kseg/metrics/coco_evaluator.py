"""Average precision and recall of detected objects, as COCO defines them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kseg._class_arguments import is_finite_number
from kseg.metrics.coco_batch import BatchReader
from kseg.metrics.coco_files import read_coco
from kseg.metrics.coco_instances import CocoDataSet
from kseg.metrics.coco_matching import BoundaryComparison, BoxComparison, MaskComparison, curves, instance_confusion
from kseg.metrics.coco_report import CocoReport, Protocol, make_report
from kseg_ops._mask_options import PASTE_MODES, as_choice, as_number, as_paste_threshold

_AREAS = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}


class CocoEvaluator:
    """COCO's evaluation of boxes and masks: average precision (AP) and average recall (AR), equal to pycocotools'.

    Batches come in through `update_state`, or a whole data set through `from_coco`; `result` gives the figures and
    `report` everything else. Masks are kept run-length encoded until then. The work is done by `kseg_ops.coco_eval` and
    `kseg_ops.rle` on the threads of the NumPy module (`KSEG_NUM_THREADS`).

    A detection is a hit if it overlaps ground truth of its class by at least a threshold of intersection over union
    (IoU). AP is the mean precision over 101 values of recall, ten IoU thresholds from 0.5 to 0.95, and the classes that
    have ground truth. AR is the highest recall, averaged over thresholds and classes. Ground truth that is a crowd
    neither has to be found, nor counts against detections inside it. Where pycocotools has two answers, this is it:
    areas of detections are those of what is compared (pycocotools takes the box's area also for masks if a result has
    both), and annotations with `id` 0 are like any other (pycocotools takes them for unmatched).

    With "boundary", IoU is the lower of those of the masks and of their boundaries, as in the code of Cheng et al.,
    "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", 2021.

    Args:
        class_names: One name per class; None: the numbers of the classes that occur.
        iou_type: What is compared: "box", "mask" or "boundary", or several of them in a list.
        max_detections: Rising numbers of detections per image and class, for which recall is given; precision is of the
            last one. Detections beyond that, by score, do not count.
        iou_thresholds: Between 0 and 1; None: COCO's.
        area_ranges: Name to `(least, greatest)` area in square pixels, both included; None: COCO's small, medium and
            large. "all" is there anyway.
        dilation_ratio: The width of boundaries as a part of the image's diagonal.
        mask_threshold: From which probability on a pixel of a mask crop is set.
        paste_mode: How mask crops are pasted into the image, "detectron2" or "torchvision": see
            `kseg_ops.paste_masks`, and `kseg.MaskRCNN.paste_mode` for that of a model. None: "detectron2";
            `kseg.callbacks.CocoEvaluation` takes the model's.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: An argument is out of its range.

    Example:
        >>> evaluator = kseg.metrics.CocoEvaluator(class_names=["cell"], iou_type="box")
        >>> truth = {"boxes": [[[0, 0, 10, 10], [20, 0, 30, 10]]], "classes": [[0, 0]]}
        >>> found = {"boxes": [[[0, 0, 10, 9], [50, 0, 60, 10]]], "classes": [[0, 0]], "scores": [[0.9, 0.8]]}
        >>> evaluator.update_state(truth, found)
        >>> round(evaluator.result()["AP50"], 3)  # half of the objects, at full precision
        0.505
    """

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        iou_type: str | Sequence[str] = "mask",
        max_detections: Sequence[int] = (1, 10, 100),
        iou_thresholds: Sequence[float] | None = None,
        area_ranges: Mapping[str, tuple[float, float]] | None = None,
        dilation_ratio: float = 0.02,
        mask_threshold: float = 0.5,
        paste_mode: str | None = None,
    ):
        ratio = as_number("dilation_ratio", dilation_ratio, 0, 1)
        comparisons = {"box": BoxComparison(), "mask": MaskComparison(), "boundary": BoundaryComparison(ratio)}
        wanted = [iou_type] if isinstance(iou_type, str) else list(iou_type)
        if not wanted or len(set(wanted)) != len(wanted):
            raise ValueError(f"iou_type must be one or several different types, got {iou_type!r}")
        self.iou_types = tuple(as_choice("iou_type", one, tuple(comparisons)) for one in wanted)
        self._comparisons = {one: comparisons[one] for one in self.iou_types}
        self.class_names = None if class_names is None else _names(class_names)
        self._protocol = Protocol(
            thresholds=_thresholds(iou_thresholds),
            recalls=np.linspace(0, 1, 101),
            limits=_limits(max_detections),
            areas={"all": (0, 1e10), **_area_ranges(area_ranges)},
        )
        self._reader = BatchReader(
            None if class_names is None else len(self.class_names),
            any(comparison.needs_masks for comparison in self._comparisons.values()),
            as_paste_threshold(mask_threshold),
            as_choice("paste_mode", "detectron2" if paste_mode is None else paste_mode, PASTE_MODES),
        )
        self._mode_is_open = paste_mode is None
        self.reset_state()

    @classmethod
    def from_coco(
        cls,
        annotations: str | Path | Mapping,
        results: str | Path | Sequence[Mapping],
        iou_type: str | Sequence[str] = "mask",
        **options,
    ) -> CocoEvaluator:
        """An evaluator that has seen a data set in COCO's format and results in COCO's format.

        Args:
            annotations: File of ground truth, or what it holds: `images`, `categories`, `annotations` with
                `segmentation` (polygons or RLE; for masks), `bbox` (for boxes), `area`, `iscrowd`.
            results: File of results, or the list in it: dictionaries with `image_id`, `category_id`, `score` and
                `segmentation` (RLE) or `bbox`.
            iou_type: As for the class.
            options: Other arguments of the class, but for `class_names`, which are those of the categories.

        Returns:
            The evaluator. Its classes are the categories by rising id.

        Raises:
            OSError: A file cannot be read.
            ValueError: A file is not JSON, or an entry is malformed or refers to nothing; the message names it.

        Example:
            >>> CocoEvaluator.from_coco("instances_val.json", "results.json").result()["AP"]  # doctest: +SKIP
            0.371
        """
        evaluator = cls(None, iou_type, **options)
        names, image_ids, truths, detections = read_coco(
            annotations, results, masks=evaluator._reader.masks, boxes="box" in evaluator.iou_types
        )
        evaluator.class_names = names
        evaluator._reader.num_classes = len(names)
        evaluator._data = CocoDataSet(image_ids, [truths], [detections])
        evaluator._has_ids = True
        return evaluator

    def update_state(self, targets: Mapping, predictions: Mapping) -> None:
        """Adds the images of a batch.

        Args:
            targets: Arrays or eager tensors of the ground truth:

                - `boxes` `(B, N, 4)`: x1, y1, x2, y2 in pixels;
                - `classes` integer `(B, N)`; -1 marks padding;
                - `masks` uint8 `(B, N, H, ceil(W / 8))`, packed by `kseg_ops.pack_masks` (unless only boxes are
                  compared);
                - `crowd` bool `(B, N)`, optional;
                - `areas` `(B, N)`, optional: in square pixels, for the area ranges; by default those of the masks, or
                  of the boxes where there are no masks;
                - `sizes` integer `(B, 2)`, optional: height and width of each image, the rest being padding; by
                  default, all of the masks' array is the image;
                - `image_ids` integer `(B,)`, optional, each one once: equal scores are ranked by the images' ids.
            predictions: Arrays or eager tensors of the detections: `boxes` `(B, D, 4)`, `classes` integer `(B, D)`,
                `scores` `(B, D)`, and (unless only boxes are compared) `masks`: floats `(B, D, h, w)`, probabilities in
                the box's frame, or uint8 `(B, D, H, ceil(W / 8))`, packed masks of the image. Other keys are ignored.

        Raises:
            TypeError: An argument or an entry is of the wrong kind.
            ValueError: An entry is missing, or its shape or a value is wrong. The state is as before.
        """
        first = len(self._data.image_ids)
        truths, detections, image_ids = self._reader.read(targets, predictions, first)
        count = np.shape(targets["classes"])[0]
        if first and (image_ids is not None) != self._has_ids:
            raise ValueError('targets must have "image_ids" in every batch or in none')
        self._data.add(list(range(first, first + count)) if image_ids is None else image_ids, truths, detections)
        self._has_ids = image_ids is not None
        self._curves = {}

    def result(self) -> dict[str, float]:
        """COCO's twelve figures.

        Returns:
            `AP`, `AP50`, `AP75`, `AP_small`, `AP_medium`, `AP_large`, `AR1`, `AR10`, `AR100`, `AR_small`, `AR_medium`,
            `AR_large` (other area ranges, limits and thresholds: accordingly), each 0 to 1; -1 where there is no ground
            truth. Of several types the names begin with the type: `mask_AP`, `box_AP`.
        """
        if len(self.iou_types) == 1:
            return self._protocol.summary(self._evaluated(self.iou_types[0]))
        return {
            f"{one}_{key}": value
            for one in self.iou_types
            for key, value in self._protocol.summary(self._evaluated(one)).items()
        }

    def report(
        self, iou_type: str | None = None, confusion_iou: float = 0.5, confusion_score: float = 0.5
    ) -> CocoReport:
        """Figures per class and size, precision-recall curves, and the confusion matrix of instances.

        Args:
            iou_type: One of those that are evaluated; None: the first.
            confusion_iou: From which IoU on an object counts as detected in the confusion matrix.
            confusion_score: From which score on a detection counts there.

        Returns:
            A `CocoReport`.

        Raises:
            ValueError: A type that is not evaluated, or a number out of its range.
        """
        one = self.iou_types[0] if iou_type is None else iou_type
        if one not in self.iou_types:
            raise ValueError(f"iou_type must be one that is evaluated, {', '.join(self.iou_types)}, got {iou_type!r}")
        iou = as_number("confusion_iou", confusion_iou, 0, 1)
        score = as_number("confusion_score", confusion_score)
        evaluated = self._evaluated(one)
        names = self._names()
        confusion = instance_confusion(*self._data.joined(), self._comparisons[one], len(names), iou, score)
        return make_report(one, self._protocol, evaluated, names, confusion, iou, score)

    def propose_paste_mode(self, paste_mode: str) -> None:
        """Says how the mask crops that come are to be pasted, if the constructor did not.

        Raises:
            ValueError: No such mode.
        """
        paste_mode = as_choice("paste_mode", paste_mode, PASTE_MODES)
        if self._mode_is_open:
            self._reader.paste_mode = paste_mode

    def reset_state(self) -> None:
        """Forgets all images."""
        self._data = CocoDataSet()
        self._has_ids = False
        self._curves = {}

    def _names(self) -> list[str]:
        if self.class_names is not None:
            return self.class_names
        parts = [*self._data.truths, *self._data.detections]
        return [str(number) for number in range(1 + max((int(p.classes.max()) for p in parts if len(p)), default=-1))]

    def _evaluated(self, iou_type: str):
        if iou_type not in self._curves:
            protocol = self._protocol
            self._curves[iou_type] = curves(
                *self._data.joined(),
                self._comparisons[iou_type],
                len(self._names()),
                list(protocol.areas.values()),
                protocol.thresholds,
                protocol.recalls,
                protocol.limits,
            )
        return self._curves[iou_type]


def _names(class_names) -> list[str]:
    if isinstance(class_names, (str, bytes)) or not hasattr(class_names, "__iter__") or not len(class_names):
        raise TypeError(f"class_names must be a list of names, at least one, got {class_names!r}")
    return [str(name) for name in class_names]


def _thresholds(values) -> np.ndarray:
    if values is None:
        return np.linspace(0.5, 0.95, 10)
    thresholds = np.asarray(values, np.float64)
    if thresholds.ndim != 1 or not thresholds.size or not ((thresholds > 0) & (thresholds <= 1)).all():
        raise ValueError(f"iou_thresholds must be numbers above 0 and at most 1, at least one, got {values!r}")
    return thresholds


def _limits(values) -> tuple[int, ...]:
    limits = tuple(values)
    whole = all(isinstance(limit, (int, np.integer)) and limit > 0 for limit in limits)
    if not limits or not whole or list(limits) != sorted(set(limits)):
        raise ValueError(f"max_detections must be rising whole numbers above 0, at least one, got {values!r}")
    return tuple(int(limit) for limit in limits)


def _area_ranges(ranges) -> dict[str, tuple[float, float]]:
    checked = {}
    for name, pair in (_AREAS if ranges is None else dict(ranges)).items():
        fits = isinstance(pair, Sequence) and len(pair) == 2 and all(is_finite_number(x) or x == math.inf for x in pair)
        if not fits or pair[0] > pair[1] or name == "all":
            raise ValueError(
                "area_ranges must give each name (other than 'all') its least and greatest area, got "
                f"{pair!r} for {name!r}"
            )
        checked[str(name)] = (float(pair[0]), float(pair[1]))
    return checked
