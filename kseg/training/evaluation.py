"""Figures of a model on whole images."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass
class ExtraFigure:
    """A figure that does not follow from the confusion matrix.

    Attributes:
        key: its name in metrics.json.
        title: its name in tables.
        value: over all measured classes.
        classes: float64 `(C,)`, NaN where a class has none; None for a figure that classes do not have.
    """

    key: str
    title: str
    value: float
    classes: np.ndarray | None = None


@dataclass
class Evaluation:
    """A confusion matrix and what follows from it.

    Attributes:
        confusion: int64 counts `(C, C)`, rows truth, columns prediction; the sigmoid case has two classes.
        class_names: One name per class.
        images: Per image: name and mean IoU over the classes present in it.
        extras: Figures that were asked for beyond those of the confusion matrix.

    A class that appears neither in truth nor in prediction has IoU and Dice NaN and is left out of the means; so has
    one that is never predicted no precision, and one that no pixel is labelled as no recall.
    """

    confusion: np.ndarray
    class_names: list[str]
    images: list[tuple[str, float]] = field(default_factory=list)
    extras: list[ExtraFigure] = field(default_factory=list)

    @property
    def iou(self) -> np.ndarray:
        """IoU per class, float64 `(C,)`: true positives / (truth + prediction - true positives)."""
        hits, truth, predicted = self._counts()
        return _ratio(hits, truth + predicted - hits)

    @property
    def dice(self) -> np.ndarray:
        """Dice score per class, float64 `(C,)`: 2 true positives / (truth + prediction)."""
        hits, truth, predicted = self._counts()
        return _ratio(2 * hits, truth + predicted)

    @property
    def precision(self) -> np.ndarray:
        """Precision per class, float64 `(C,)`: true positives / prediction."""
        hits, _, predicted = self._counts()
        return _ratio(hits, predicted)

    @property
    def recall(self) -> np.ndarray:
        """Recall per class, float64 `(C,)`, which is the accuracy of the class: true positives / truth."""
        hits, truth, _ = self._counts()
        return _ratio(hits, truth)

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that appear."""
        return _mean(self.iou)

    @property
    def mean_dice(self) -> float:
        """Mean of `dice` over the classes that appear."""
        return _mean(self.dice)

    @property
    def mean_precision(self) -> float:
        """Mean of `precision` over the classes that are predicted."""
        return _mean(self.precision)

    @property
    def mean_recall(self) -> float:
        """Mean of `recall` over the classes that appear in truth; the mean accuracy of the classes."""
        return _mean(self.recall)

    @property
    def frequency_weighted_iou(self) -> float:
        """Mean of `iou`, each class weighing as much as its true pixels."""
        pixels = self.confusion.sum(axis=1)
        total = pixels.sum()
        return float((np.nan_to_num(self.iou) * pixels).sum() / total) if total else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Share of the counted pixels that are right."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else float("nan")

    def to_dict(self) -> dict:
        """The figures as JSON-compatible data; NaN and infinity become `None`."""
        classes = [
            {"name": name, "iou": _number(iou), "dice": _number(dice), "pixels": int(count)}
            | {"precision": _number(precision), "recall": _number(recall), "accuracy": _number(recall)}
            for name, iou, dice, count, precision, recall in zip(
                self.class_names,
                self.iou,
                self.dice,
                self.confusion.sum(axis=1),
                self.precision,
                self.recall,
                strict=True,
            )
        ]
        for extra in self.extras:
            if extra.classes is not None:
                for row, value in zip(classes, extra.classes, strict=True):
                    row[extra.key] = _number(value)
        return {
            "mean_iou": _number(self.mean_iou),
            "mean_dice": _number(self.mean_dice),
            "pixel_accuracy": _number(self.pixel_accuracy),
            "mean_precision": _number(self.mean_precision),
            "mean_recall": _number(self.mean_recall),
            "mean_accuracy": _number(self.mean_recall),
            "frequency_weighted_iou": _number(self.frequency_weighted_iou),
            **{extra.key: _number(extra.value) for extra in self.extras},
            "classes": classes,
            "confusion_matrix": self.confusion.tolist(),
            "images": [{"name": name, "mean_iou": _number(value)} for name, value in self.images],
        }

    def _counts(self):
        return np.diag(self.confusion), self.confusion.sum(axis=1), self.confusion.sum(axis=0)


def evaluate(
    predict: Callable[[np.ndarray], np.ndarray],
    samples: Sequence | Iterator,
    num_classes: int,
    *,
    names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    ignore_index: int | None = 255,
    keep: Callable[[int, np.ndarray, np.ndarray, np.ndarray, float], None] | None = None,
    extras: Sequence = (),
) -> Evaluation:
    """Evaluates class maps against masks, image by image.

    Args:
        predict: Maps an image `(H, W, C)` to classes `(H, W)`, or to logits `(H, W, num_classes)`.
        samples: Iterable of `(image, mask)`.
        num_classes: Classes of the model; 1 (sigmoid) is counted as two, background and foreground.
        names: A name per image.
        class_names: A name per class.
        ignore_index: Mask value that is not counted.
        keep: Called for each image with `(index, image, mask, prediction, mean IoU)`.
        extras: `kseg.training.extra_metrics.ExtraMetric`, further figures; see there which of them need logits.

    Returns:
        The figures.

    Raises:
        ValueError: A mask holds a value that is no class, or a prediction has another size than its mask.
    """
    import kseg_ops
    from kseg.inference.strips import to_classes

    counted = max(num_classes, 2)
    total = np.zeros((counted, counted), np.int64)
    images = []
    for index, (image, mask) in enumerate(samples):
        name = names[index] if names is not None else f"{index:04d}"
        mask = np.asarray(mask).astype(np.int32)
        scores = np.asarray(predict(image))
        prediction = (to_classes(scores, np.int32, False) if scores.ndim == 3 else scores).astype(np.int32)
        _check(name, mask, prediction, counted, ignore_index)
        matrix = np.asarray(kseg_ops.confusion_matrix(mask, prediction, counted, ignore_index=ignore_index))
        total += matrix
        score = Evaluation(matrix, [""] * counted).mean_iou
        images.append((name, score))
        for extra in extras:
            extra.update(mask, prediction, scores)
        if keep is not None:
            keep(index, image, mask, prediction, score)
    names_of_classes = default_class_names(num_classes, class_names)
    return Evaluation(total, names_of_classes, images, [extra.figure() for extra in extras])


def default_class_names(num_classes: int, class_names: Sequence[str] | None = None) -> list[str]:
    """One name per counted class: those given, or "class 0", "class 1" ...; sigmoid: "background", "foreground"."""
    counted = max(num_classes, 2)
    if class_names is not None and len(class_names) == counted:
        return [str(name) for name in class_names]
    if num_classes == 1:
        return ["background", str(class_names[0]) if class_names else "foreground"]
    return [f"class {index}" for index in range(counted)]


def write_metrics(path: str | Path, content: dict) -> None:
    """Writes metrics.json, beside and renamed."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(beside, path)


def _check(name, mask, prediction, counted, ignore_index):
    if mask.shape != prediction.shape:
        raise ValueError(f"{name}: the mask has size {mask.shape} and the prediction {prediction.shape}.")
    wrong = (mask < 0) | (mask >= counted)
    if ignore_index is not None:
        wrong &= mask != ignore_index
    if wrong.any():
        raise ValueError(
            f"{name}: the mask holds the value {int(mask[wrong][0])}; expected 0 to {counted - 1}"
            + (f" or {ignore_index} (void)." if ignore_index is not None else ".")
        )


def _ratio(part, whole):
    part, whole = part.astype(np.float64), whole.astype(np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean(values):
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _number(value):
    return float(value) if np.isfinite(value) else None
