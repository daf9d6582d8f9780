"""How far kseg and a published network are from the same network in float64, and the table of all of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

import kseg_ops
from tests.helpers.without_onednn import SWITCH

# kseg's error may be at most so many times the peer's own, both in float32 against float64. Networks and weights are
# compared, not how a library rounds: with oneDNN, TensorFlow's 3 x 3 convolutions add up one product after the other,
# and are 2 to 5 times further off than PyTorch's in its default layout, which add up by blocks. (PyTorch's with the
# channels last are as far off: they are the same code.) So the comparison runs where TensorFlow has no oneDNN, in
# `tests/helpers/without_onednn.py`. docs/models.md says what oneDNN changes.
MOST_TIMES_PEER_ERROR = 2.0
LEAST_CLASSES = 3
SPREAD = (1.0, 10.0)

ROWS: list[Row] = []


@dataclasses.dataclass(frozen=True)
class Row:
    """One pair of the table.

    Attributes:
        pair: what was compared.
        spread: standard deviation of the logits, or of the features.
        classes: how many classes win some pixel; None for features.
        peer: largest difference of the peer's float32 from float64, in its default layout.
        peer_channels_last: likewise, with the channels last, as in TensorFlow.
        native: that of kseg with its compiled ops; None where they are off.
        stock: that of kseg with stock ops.
    """

    pair: str
    spread: float
    classes: int | None
    peer: float
    peer_channels_last: float
    native: float | None
    stock: float

    @property
    def error(self) -> float:
        """The larger error of kseg's two forms."""
        return max(self.native or 0.0, self.stock)

    @property
    def ratio(self) -> float:
        """How many times the peer's error kseg's is."""
        return self.error / self.peer

    def check(self) -> None:
        """AssertionError where logits say nothing, or kseg is further off than the peer twice over."""
        if self.classes is not None:
            assert SPREAD[0] <= self.spread <= SPREAD[1], self
            assert self.classes >= LEAST_CLASSES, self
        assert self.peer > 0, self
        assert self.ratio <= MOST_TIMES_PEER_ERROR, self


def logits_row(pair: str, answers, model) -> Row:
    """Compare logits `(B, H, W, classes)`, and keep the row for the table.

    Args:
        pair: for the table.
        answers: the peer's `images`, `truth`, `peer` and `peer_channels_last`.
        model: kseg's.
    """
    row = _row(pair, answers.truth, answers.peer, answers.peer_channels_last, *both_forms(model, answers.images))
    row = dataclasses.replace(row, classes=len(np.unique(answers.truth.argmax(-1))))
    ROWS.append(row)
    return row


def features_row(pair: str, answers, backbone) -> Row:
    """Compare features by level: the row has the level on which kseg does worst."""
    forms = (answers.truth, answers.peer, answers.peer_channels_last, *both_forms(backbone, answers.images))
    rows = [
        _row(f"{pair} {level}", *(None if form is None else form[level] for form in forms)) for level in answers.truth
    ]
    worst = max(rows, key=lambda row: row.ratio)
    ROWS.append(worst)
    return worst


def _row(pair, truth, *others):
    return Row(pair, float(truth.std()), None, *(None if other is None else _largest(other, truth) for other in others))


def both_forms(model, images):
    """What a model answers, inside a graph: with compiled ops (None where there are none), and with stock ones."""
    native = None
    if kseg_ops._library.native_op("atrous_conv2d") is not None:
        native = _graph_answer(model, images)
    with kseg_ops.use_reference():
        return native, _graph_answer(model, images)


def _graph_answer(model, images):
    answer = tf.function(lambda x: model(x, training=False))(tf.constant(images))
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), answer)


def _largest(values, truth):
    assert values.shape == truth.shape, f"{values.shape} against {truth.shape}"
    return float(np.abs(values.astype(np.float64) - truth).max())


def summary(rows: list[Row]) -> list[str]:
    """The rows as a Markdown table, and what they were held against."""
    lines = [
        "| pair | std | classes in argmax | peer's error | peer's, channels last | kseg's, native | kseg's, stock ops "
        "| kseg's to peer's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        classes = "features" if row.classes is None else row.classes
        native = "-" if row.native is None else f"{row.native:.2e}"
        lines.append(
            f"| {row.pair} | {row.spread:.2f} | {classes} | {row.peer:.2e} | {row.peer_channels_last:.2e} | {native} | "
            f"{row.stock:.2e} | {row.ratio:.2f} |"
        )
    lines.append(f"Limit: {MOST_TIMES_PEER_ERROR}, without oneDNN in TensorFlow unless {SWITCH} was set.")
    return lines
