"""What moving an op's data costs by itself: the limit of ops that compute little."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def moving(read: int, written: int) -> tuple[str, Callable[[], object]]:
    """The name of a baseline and a call that reads and writes as many bytes as an op must, on TensorFlow's threads.

    Stock TensorFlow inverts half of the bytes into the other half: the split between reading and writing is not
    the op's own, but their sum is.
    """
    numbers = tf.zeros([(read + written) // 2 // 4], tf.int32)
    invert = tf.function(tf.bitwise.invert)
    return f"moving {(read + written) / 1e6:.0f} MB (the limit)", lambda: invert(numbers)
