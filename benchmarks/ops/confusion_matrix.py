"""`kseg_ops.confusion_matrix` against argmax and counting in stock TensorFlow.

The baseline has no ignore mask: it counts every pixel, which spares it the masking that the op includes.
"""

from __future__ import annotations

import tensorflow as tf

import kseg_ops
from benchmarks.harness import Row, Timer


def _waiting(function):
    """A call of the compiled graph that returns when the counts are there."""
    graph = tf.function(function)
    return lambda *inputs: graph(*inputs).numpy()


def _logits_case(timer: Timer, batch: int, classes: int, dtype: str, bars: dict[str, float]) -> Row:
    labels = tf.random.stateless_uniform([batch, 512, 512], [1, 2], 0, classes, tf.int32)
    labels = tf.cast(labels, tf.uint8)
    logits = tf.cast(tf.random.stateless_normal([batch, 512, 512, classes], [3, 4]), dtype)
    ours = _waiting(lambda labels, logits: kseg_ops.confusion_matrix(labels, logits, classes))
    stock = _waiting(
        lambda labels, logits: tf.math.confusion_matrix(
            tf.reshape(labels, [-1]), tf.reshape(tf.argmax(logits, -1), [-1]), classes, dtype=tf.int64
        )
    )
    return timer.compare(
        f"confusion_matrix of logits {batch}x512x512x{classes} {dtype}",
        lambda: ours(labels, logits),
        {"tf.argmax + tf.math.confusion_matrix, no ignore mask": lambda: stock(labels, logits)},
        bars=bars,
    )


def _classes_case(timer: Timer, batch: int, classes: int) -> Row:
    labels = tf.random.stateless_uniform([batch, 512, 512], [1, 2], 0, classes, tf.int32)
    predictions = tf.random.stateless_uniform([batch, 512, 512], [5, 6], 0, classes, tf.int32)
    ours = _waiting(lambda labels, predictions: kseg_ops.confusion_matrix(labels, predictions, classes))
    stock = _waiting(
        lambda labels, predictions: tf.math.confusion_matrix(
            tf.reshape(labels, [-1]), tf.reshape(predictions, [-1]), classes, dtype=tf.int64
        )
    )
    return timer.compare(
        f"confusion_matrix of classes {batch}x512x512, {classes} classes",
        lambda: ours(labels, predictions),
        {"tf.math.confusion_matrix, no ignore mask": lambda: stock(labels, predictions)},
    )


def run(timer: Timer) -> list[Row]:
    """Measures every case."""
    bar = {"tf.argmax + tf.math.confusion_matrix, no ignore mask": 5.0}
    return [
        _logits_case(timer, 8, 21, "float32", bar),
        _logits_case(timer, 8, 21, "bfloat16", {}),
        _logits_case(timer, 8, 2, "float32", {}),
        _logits_case(timer, 1, 150, "float32", {}),
        _classes_case(timer, 8, 21),
    ]
