"""Calibration error."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

import kseg_ops
from kseg._class_arguments import check_ignore_index, check_num_classes
from kseg.losses.targets import pixel_weights, prepare_targets
from kseg.metrics.native_steps import metric_ops
from kseg.metrics.replicas import add_over_replicas

NORMS = ("l1", "l2", "max")
_LARGEST = 1e30  # what kseg's resize ops clip logits to
# Cells in which equally filled bins are found: of equal width in -log2(1 - confidence), from 0 to the 24 beyond which
# float32 has no number below 1. They are finest near 1, where the confidences of networks crowd.
_OCTAVES, _PER_OCTAVE = 24, 256
_ROUNDING = 2.0**-21  # of float32 confidences: one that is meant to lie on an edge belongs to the bin below it


@keras.saving.register_keras_serializable(package="kseg")
class CalibrationError(keras.metrics.Metric):
    """How far the confidence of predictions is from how often they are right; the expected calibration error (ECE).

    The confidence of a pixel is the probability of its predicted class, the most probable one (of single-channel logits
    the probability of background or of foreground, whichever is greater). Valid pixels are sorted by confidence into
    bins of equal width, `(0, 1/bins]` to `(1 - 1/bins, 1]`. The gap of a bin is the difference between its mean
    confidence and the part of its pixels that are right. The result is the mean of the gaps, each bin weighing as much
    as its pixels (`"l1"`), the root of the mean of their squares (`"l2"`), or the largest (`"max"`); 0 without a pixel.

    Only the sums of each bin are kept, in float64: the state has the same size after any number of pixels, and the
    order of the pixels matters only to the rounding of those sums.

    With `adaptive`, bins hold equally many pixels instead: networks are mostly sure, and the last of the bins of equal
    width holds nearly all of them. Exact quantiles would need every pixel, so the sums are kept for 6144 fine cells of
    confidence, in each of which 1 - confidence varies by 0.3 %, and the cells shared out: a cell across the edge of two
    bins is split in proportion, as if its right and wrong pixels were mixed evenly. So are pixels of equal confidence,
    which have no order.

    Sources: Guo et al., "On Calibration of Modern Neural Networks", 2017 (l1: ECE, max: MCE). Nixon et al., "Measuring
    Calibration in Deep Learning", 2019, for equally filled bins; their ACE looks at the probabilities of all classes,
    this at those of the predicted ones.

    Args:
        num_classes: number of classes; 1 is the sigmoid case.
        ignore_index: the label of void pixels, or None. They are not counted.
        bins: number of bins, 1 to 65536.
        norm: `"l1"`, `"l2"` or `"max"`.
        from_logits: whether `y_pred` holds logits; else probabilities (of the foreground in the sigmoid case).
        adaptive: whether bins are filled equally, rather than of equal width.
        name, dtype: as in Keras.

    Call arguments of `update_state`:
        y_true: labels `(B, H, W)` or `(B, H, W, 1)`, integers or floats that are whole.
        y_pred: floating `(B, H, W, C)`. NaN counts as -inf, a class without probability. Logits of a smaller height
            and width than the labels are upsampled bilinearly, as kseg's losses do.
        sample_weight: one weight per image `(B,)` or pixel `(B, H, W)`, or None.

    Raises:
        ValueError: an argument out of its range, class maps instead of scores, another number of channels, sizes that
            do not fit.
        tf.errors.InvalidArgumentError: a label outside `0..C-1` that is not `ignore_index` (not under XLA, which drops
            assertions: such a pixel counts as void).

    Example:
        >>> metric = CalibrationError(num_classes=2, from_logits=False)
        >>> metric.update_state(np.array([[[0, 0, 0, 1]]]), np.array([[[[0.9, 0.1]] * 4]]))
        >>> round(float(metric.result()), 3)  # 0.9 sure, right 3 times of 4
        0.15
    """

    def __init__(
        self,
        num_classes,
        ignore_index=255,
        bins=15,
        norm="l1",
        from_logits=True,
        adaptive=False,
        name="calibration_error",
        dtype=None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.num_classes = check_num_classes(num_classes)
        self.ignore_index = check_ignore_index(ignore_index)
        if not isinstance(bins, int) or isinstance(bins, bool) or not 1 <= bins <= 65536:
            raise ValueError(f"bins must be an int from 1 to 65536; got {bins!r}")
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {NORMS}; got {norm!r}")
        self.bins = bins
        self.norm = norm
        self.from_logits = bool(from_logits)
        self.adaptive = bool(adaptive)
        self._cells = _OCTAVES * _PER_OCTAVE if self.adaptive else bins
        # Number, right ones and confidence; float64 counts exactly to 2**53.
        self.sums = self.add_variable(
            shape=(3, self._cells), initializer="zeros", dtype="float64", aggregation="sum", name="sums"
        )

    @tf.autograph.experimental.do_not_convert
    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count one batch."""
        y_pred = tf.convert_to_tensor(y_pred)
        if y_pred.dtype.is_floating and y_pred.shape[-1] != self.num_classes:
            raise ValueError(f"y_pred of shape {tuple(y_pred.shape)} must have num_classes={self.num_classes} channels")
        if not self.from_logits:
            y_pred = _logits(y_pred)
        y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
        targets = prepare_targets(y_true, y_pred, self.ignore_index)
        logits = tf.where(tf.math.is_nan(targets.logits), -_LARGEST, targets.logits)
        with metric_ops():
            predicted, confidence = _predictions(logits, tf.shape(targets.labels)[1:3])
        weights = tf.cast(targets.valid, tf.float64)
        if sample_weight is not None:
            weights *= tf.cast(pixel_weights(sample_weight, targets.labels), tf.float64)
        confidence = tf.cast(confidence, tf.float64)
        places = tf.reshape(tf.clip_by_value(self._places(confidence), 0, self._cells - 1), [-1])
        right = tf.cast(tf.equal(predicted, targets.labels), tf.float64)
        sums = [
            tf.math.unsorted_segment_sum(tf.reshape(values, [-1]), places, self._cells)
            for values in (weights, weights * right, weights * confidence)
        ]
        add_over_replicas(self.sums, tf.stack(sums))

    def gaps(self):
        """The weight of each bin and its gap, mean confidence minus accuracy: two float64 `(bins,)`, 0 where empty."""
        sums = tf.convert_to_tensor(self.sums)
        number, right, confidence = tf.unstack(_equal_shares(sums, self.bins) if self.adaptive else sums)
        return number, tf.math.divide_no_nan(confidence - right, number)

    def _places(self, confidence):
        """The number of the bin, or cell, of each confidence, before it is clipped to those that there are."""
        if not self.adaptive:
            return tf.cast(tf.math.ceil((confidence - _ROUNDING) * self.bins), tf.int32) - 1
        octaves = -tf.math.log(tf.maximum(1 - confidence, 2.0**-_OCTAVES)) / math.log(2)
        return tf.cast(tf.floor(octaves * _PER_OCTAVE), tf.int32)

    def result(self):
        number, gaps = self.gaps()
        total = tf.reduce_sum(number)
        if self.norm == "max":
            value = tf.reduce_max(tf.abs(gaps))
        elif self.norm == "l1":
            value = tf.math.divide_no_nan(tf.reduce_sum(number * tf.abs(gaps)), total)
        else:
            value = tf.sqrt(tf.math.divide_no_nan(tf.reduce_sum(number * gaps * gaps), total))
        return tf.cast(value, self.dtype)

    def merge_state(self, metrics):
        """Add what other metrics with as many bins have counted."""
        for other in metrics:
            of_mine = isinstance(other, CalibrationError) and other.bins == self.bins
            if not of_mine or other.adaptive != self.adaptive:
                kind = f"{self.bins}{' adaptive' if self.adaptive else ''} bins"
                raise ValueError(f"merge_state takes CalibrationError metrics of {kind}; got {other!r}")
            self.sums.assign_add(tf.convert_to_tensor(other.sums))

    def reset_state(self):
        self.sums.assign(tf.zeros((3, self._cells), tf.float64))

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_index": self.ignore_index,
            "bins": self.bins,
            "norm": self.norm,
            "from_logits": self.from_logits,
            "adaptive": self.adaptive,
        }


def _equal_shares(sums, bins):
    """Sums `(3, cells)`, the first of which counts pixels, as those of bins of equally many pixels: `(3, bins)`."""
    totals = tf.pad(tf.cumsum(sums, axis=1), [[0, 0], [1, 0]])
    counts = totals[0]
    edges = counts[-1] * tf.range(bins + 1, dtype=tf.float64) / bins
    cell = tf.clip_by_value(tf.searchsorted(counts, edges) - 1, 0, sums.shape[1] - 1)
    inside = tf.math.divide_no_nan(edges - tf.gather(counts, cell), tf.gather(sums[0], cell))
    until = tf.gather(totals, cell, axis=1) + tf.minimum(inside, 1) * tf.gather(sums, cell, axis=1)
    return until[:, 1:] - until[:, :-1]


def _logits(probabilities):
    """Logits whose softmax (sigmoid) the probabilities are."""
    if not probabilities.dtype.is_floating:
        raise ValueError(f"y_pred must be floating-point probabilities; got {probabilities.dtype.name}")
    if probabilities.shape[-1] != 1:
        return tf.math.log(probabilities)
    return tf.math.log(probabilities) - tf.math.log1p(-probabilities)


def _predictions(logits, size):
    """The predicted classes `(B, H, W)` at a size and their probabilities, without probabilities of all classes."""
    if logits.shape[-1] == 1:
        # The logits of background and foreground that a sigmoid stands for.
        logits = tf.concat([tf.zeros_like(logits), logits], -1)
    predicted = kseg_ops.resize_argmax(logits, size)
    return predicted, tf.exp(-kseg_ops.resize_softmax_cross_entropy(predicted, logits, ignore_index=None))
