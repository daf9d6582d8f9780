"""`kseg_ops.resize_softmax_cross_entropy`, forward and backward, against resizing the logits in stock TensorFlow.

Labels are blobs as of a segmentation, or drawn anew at every pixel, which neither side can share anything among. Logits
that are wide (standard deviation 60) need an exponential for every output and class.

The limit of arithmetic is the time that a matrix product of as many operations takes in this process: per class
(rounded up to 16) and 4 x 4 tile of outputs 197 floating-point operations in both directions together.

The gradient from above is one number, as after a mean, which the sweep of the loss has prepared for; in one case it is
different at each pixel. The loss alone, in a graph without gradient, must not pay for that.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks.harness import Row, Timer

STOCK = "tf.image.resize + sparse_softmax_cross_entropy"
STOCK_DICE = "tf.image.resize + cross-entropy + softmax Dice sums"
LIMIT = "matmul of as many operations (limit)"
# Four exponentials of 14 and 19 to set them up; 34 for the values and their sums; then 18 for the values again, 50 for
# sums of them times a number of each output, and 20 to hand these on. A multiplication with addition counts twice, as
# in a matrix product.
OPERATIONS_PER_LANE = 197


def random_labels(kind: str, size: int, classes: int) -> np.ndarray:
    """`[1, size, size]` int32, 2 % of the rows void."""
    generator = np.random.default_rng(0)
    if kind == "blobs":
        coarse = generator.integers(0, classes, (1, -(-size // 40), -(-size // 40)))
        labels = np.kron(coarse, np.ones((1, 40, 40), np.int64))[:, :size, :size]
    else:
        labels = generator.integers(0, classes, (1, size, size))
    rows = generator.random((1, size, 1)) < 0.02
    return np.where(rows, 255, labels).astype(np.int32)


def _both(function):
    @tf.function
    def both(labels, logits, upstream):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            results = function(labels, logits)
        return results, tape.gradient(results, logits, upstream)

    return both


def _stock(labels, logits):
    resized = tf.image.resize(logits, labels.shape[1:3])
    valid = labels != 255
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.where(valid, labels, 0), resized)
    return tf.where(valid, loss, 0.0)


def _stock_dice(labels, logits):
    resized = tf.image.resize(logits, labels.shape[1:3])
    valid = labels != 255
    safe = tf.where(valid, labels, 0)
    loss = tf.where(valid, tf.nn.sparse_softmax_cross_entropy_with_logits(safe, resized), 0.0)
    weight = tf.cast(valid, tf.float32)[..., None]
    probability = tf.nn.softmax(resized)
    truth = tf.one_hot(safe, resized.shape[-1]) * weight
    sums = [tf.reduce_sum(values, [1, 2]) for values in (probability * truth, probability * weight)]
    return loss, *sums


def _ours_dice(labels, logits):
    loss, overlap, predicted, _ = kseg_ops.resize_softmax_cross_entropy_and_dice(labels, logits)
    return loss, overlap, predicted


def _limit(source: int, size: int, classes: int):
    tiles = (size / 4) ** 2 if size >= 4 * source else source**2
    operations = OPERATIONS_PER_LANE * tiles * (-(-classes // 16) * 16)
    side = 1024
    columns = max(1, round(operations / (2 * side * side)))
    left = tf.random.stateless_normal([side, side], [1, 2])
    right = tf.random.stateless_normal([side, columns], [3, 4])
    product = tf.function(tf.linalg.matmul)
    return lambda: product(left, right)


def _case(timer: Timer, kind: str, source: int, size: int, classes: int, scale: float, bar: float | None) -> Row:
    logits = scale * tf.random.stateless_normal([1, source, source, classes], [5, 6])
    labels = tf.constant(random_labels(kind, size, classes))
    upstream = tf.fill([1, size, size], 1.0 / size**2)
    ours, stock = _both(kseg_ops.resize_softmax_cross_entropy), _both(_stock)
    baselines = {STOCK: lambda: stock(labels, logits, upstream)}
    if scale == 1.0:
        baselines[LIMIT] = _limit(source, size, classes)
    return timer.compare(
        f"resize_softmax_cross_entropy forward + backward {source}x{source}x{classes} -> {size}x{size}, {kind} labels"
        + (", wide logits" if scale != 1.0 else ""),
        lambda: ours(labels, logits, upstream),
        baselines,
        bars={} if bar is None else {STOCK: bar},
    )


def _uneven_case(timer: Timer, source: int, size: int, classes: int) -> Row:
    logits = tf.random.stateless_normal([1, source, source, classes], [5, 6])
    labels = tf.constant(random_labels("blobs", size, classes))
    upstream = tf.random.stateless_uniform([1, size, size], [7, 8])
    ours, stock = _both(kseg_ops.resize_softmax_cross_entropy), _both(_stock)
    return timer.compare(
        f"resize_softmax_cross_entropy uneven gradient, {source}x{source}x{classes} -> {size}x{size}",
        lambda: ours(labels, logits, upstream),
        {STOCK: lambda: stock(labels, logits, upstream)},
    )


def _forward_case(timer: Timer, source: int, size: int, classes: int) -> Row:
    logits = tf.random.stateless_normal([1, source, source, classes], [5, 6])
    labels = tf.constant(random_labels("blobs", size, classes))
    ours, stock = tf.function(kseg_ops.resize_softmax_cross_entropy), tf.function(_stock)
    return timer.compare(
        f"resize_softmax_cross_entropy forward {source}x{source}x{classes} -> {size}x{size}",
        lambda: ours(labels, logits),
        {STOCK: lambda: stock(labels, logits)},
    )


def _dice_case(timer: Timer, source: int, size: int, classes: int) -> Row:
    logits = tf.random.stateless_normal([1, source, source, classes], [5, 6])
    labels = tf.constant(random_labels("blobs", size, classes))
    upstream = (tf.fill([1, size, size], 1.0 / size**2), *[tf.fill([1, classes], 1e-4)] * 2)
    ours, stock = _both(_ours_dice), _both(_stock_dice)
    return timer.compare(
        f"resize_softmax_cross_entropy_and_dice forward + backward {source}x{source}x{classes} -> {size}x{size}",
        lambda: ours(labels, logits, upstream),
        {STOCK_DICE: lambda: stock(labels, logits, upstream)},
    )


def run(timer: Timer) -> list[Row]:
    """Measures every case."""
    return [
        _case(timer, "blobs", 128, 512, 21, 1.0, 20.0),
        _case(timer, "blobs", 128, 512, 150, 1.0, 25.0),
        _case(timer, "random", 128, 512, 21, 1.0, 20.0),
        _case(timer, "random", 128, 512, 150, 1.0, 25.0),
        _case(timer, "blobs", 128, 512, 21, 60.0, 10.0),
        _case(timer, "blobs", 128, 512, 150, 60.0, 12.0),
        _case(timer, "blobs", 129, 513, 21, 1.0, None),
        _case(timer, "blobs", 256, 512, 2, 1.0, None),
        _case(timer, "blobs", 64, 512, 21, 1.0, None),
        _case(timer, "blobs", 512, 512, 21, 1.0, None),
        _uneven_case(timer, 128, 512, 21),
        _uneven_case(timer, 128, 512, 150),
        _forward_case(timer, 128, 512, 21),
        _forward_case(timer, 128, 512, 150),
        _dice_case(timer, 128, 512, 21),
        _dice_case(timer, 128, 512, 150),
    ]
