"""How far kseg and a published network are from the same network in float64, and the table of all of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

import kseg_ops

# kseg's error may be at most so many times the peer's own, both in float32 against float64.
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
        peer_error: largest difference of the peer's float32 from float64.
        native_error: that of kseg with its compiled ops; None where they are off.
        reference_error: that of kseg with stock ops.
    """

    pair: str
    spread: float
    classes: int | None
    peer_error: float
    native_error: float | None
    reference_error: float

    @property
    def error(self) -> float:
        """The larger error of kseg's two forms."""
        return max(self.native_error or 0.0, self.reference_error)

    @property
    def ratio(self) -> float:
        """How many times the peer's error kseg's is."""
        return self.error / self.peer_error

    def check(self) -> None:
        """AssertionError where logits say nothing, or kseg is further off than the peer twice over."""
        if self.classes is not None:
            assert SPREAD[0] <= self.spread <= SPREAD[1], self
            assert self.classes >= LEAST_CLASSES, self
        assert self.peer_error > 0, self
        assert self.ratio <= MOST_TIMES_PEER_ERROR, self


def logits_row(pair: str, truth, peer, model, images) -> Row:
    """Compare logits `(B, H, W, classes)`, and keep the row for the table."""
    native, reference = both_forms(model, images)
    row = Row(
        pair,
        float(truth.std()),
        len(np.unique(truth.argmax(-1))),
        _largest(peer, truth),
        None if native is None else _largest(native, truth),
        _largest(reference, truth),
    )
    ROWS.append(row)
    return row


def features_row(pair: str, truth: dict, peer: dict, backbone, images) -> Row:
    """Compare features by level: the row has the level on which kseg does worst."""
    native, reference = both_forms(backbone, images)
    rows = []
    for level in truth:
        errors = [None if own is None else _largest(own[level], truth[level]) for own in (native, reference)]
        rows.append(
            Row(f"{pair} {level}", float(truth[level].std()), None, _largest(peer[level], truth[level]), *errors)
        )
    worst = max(rows, key=lambda row: row.ratio)
    ROWS.append(worst)
    return worst


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


def table(rows: list[Row]) -> list[str]:
    """The rows as a Markdown table."""
    lines = [
        "| pair | std of logits | classes in argmax | peer's error | kseg's error, native | kseg's, stock ops | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        classes = "features" if row.classes is None else row.classes
        native = "-" if row.native_error is None else f"{row.native_error:.2e}"
        lines.append(
            f"| {row.pair} | {row.spread:.2f} | {classes} | {row.peer_error:.2e} | {native} | "
            f"{row.reference_error:.2e} | {row.ratio:.2f} |"
        )
    return lines
