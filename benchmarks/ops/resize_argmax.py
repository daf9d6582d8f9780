"""`kseg_ops.resize_argmax` against resizing the logits and taking the argmax in stock TensorFlow.

Two kinds of logits, because both sides depend on them: independent normal numbers, of which every source pixel has
another winner and hardly a class can be pruned (and which make the stock argmax mispredict); and smooth fields with a
little noise, as a trained network puts out.
"""

from __future__ import annotations

import tensorflow as tf

import kseg_ops
from benchmarks.harness import Row, Timer

STOCK = "tf.image.resize + tf.argmax"


def smooth_logits(height: int, width: int, classes: int) -> tf.Tensor:
    """Blobs about 16 pixels wide, standard deviation about 3, with noise of 0.1 on each pixel."""
    coarse = 4.0 * tf.random.stateless_normal([1, -(-height // 16), -(-width // 16), classes], [1, 2])
    noise = tf.random.stateless_normal([1, height, width, classes], [3, 4], stddev=0.1)
    return tf.image.resize(coarse, [height, width], "bicubic") + noise


def _case(timer: Timer, kind: str, shape: tuple[int, int, int], size: int, dtype: str, bars: dict[str, float]) -> Row:
    batch, source, classes = shape
    if kind == "smooth":
        logits = tf.repeat(smooth_logits(source, source, classes), batch, axis=0)
    else:
        logits = tf.random.stateless_normal([batch, source, source, classes], [5, 6])
    logits = tf.cast(logits, dtype)
    ours = tf.function(lambda logits: kseg_ops.resize_argmax(logits, (size, size)))
    stock = tf.function(lambda logits: tf.argmax(tf.image.resize(logits, (size, size)), -1, output_type=tf.int32))
    return timer.compare(
        f"resize_argmax {batch}x{source}x{source}x{classes} {dtype} -> {size}x{size}, {kind} logits",
        lambda: ours(logits),  # returns when its output is there, as graphs on a CPU do
        {STOCK: lambda: stock(logits)},
        bars=bars,
    )


def run(timer: Timer) -> list[Row]:
    """Measures every case."""
    return [
        _case(timer, "normal", (1, 128, 21), 512, "float32", {STOCK: 20.0}),
        _case(timer, "normal", (1, 128, 150), 512, "float32", {STOCK: 12.0}),
        _case(timer, "smooth", (1, 128, 21), 512, "float32", {}),
        _case(timer, "smooth", (1, 128, 150), 512, "float32", {STOCK: 12.0}),
        _case(timer, "normal", (4, 128, 21), 512, "float32", {}),
        _case(timer, "smooth", (4, 128, 21), 512, "float32", {}),
        _case(timer, "smooth", (1, 128, 21), 512, "bfloat16", {}),
        _case(timer, "smooth", (1, 256, 2), 512, "float32", {}),
        _case(timer, "smooth", (1, 64, 21), 512, "float32", {}),
        _case(timer, "smooth", (1, 129, 21), 513, "float32", {}),
    ]
