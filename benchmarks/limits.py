"""What a kernel cannot beat on this machine: moving its bytes, or doing its arithmetic at the rate of a matrix product.

Each limit is a call that takes that long, to be timed in turn with the kernel (`Timer.compare`, as a baseline without a
bar). Its ratio then reads as the part of the limit that the kernel reaches: 0.8 is 80 %.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def threads() -> int:
    """CPUs of this process, as both sides of every comparison use them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def copying(moved_bytes: float) -> dict[str, Callable[[], object]]:
    """A copy on all CPUs that reads half of `moved_bytes` and writes the other half, between touched buffers."""
    half = max(int(moved_bytes) // 2, threads())
    source, target = np.ones(half, np.uint8), np.zeros(half, np.uint8)
    borders = np.linspace(0, half, threads() + 1).astype(int)
    pool = ThreadPoolExecutor(threads())
    parts = [(target[a:b], source[a:b]) for a, b in itertools.pairwise(borders)]

    def call() -> None:
        list(pool.map(lambda part: np.copyto(*part), parts))

    return {f"limit: copying, {moved_bytes / 1e6:.3g} MB moved": call}


def multiplying(flop: float, side: int = 1024) -> dict[str, Callable[[], object]]:
    """TensorFlow's own float32 matrix products of `side` cubed, as many as make up `flop` (rounded in the last one)."""
    import tensorflow as tf

    whole, rest = divmod(flop, 2.0 * side**3)
    a = tf.random.stateless_normal([side, side], [1, 2], stddev=side**-0.5)  # products keep their size
    b = tf.random.stateless_normal([side, side], [3, 4])
    rows = max(1, round(rest / (2.0 * side**2)))

    @tf.function
    def multiply(a, b):
        # One after another, each on all CPUs; every product is used, or the graph would drop it.
        product = b
        for _ in range(int(whole)):
            product = tf.linalg.matmul(a, product)
        return tf.linalg.matmul(a[:rows], product)

    return {f"limit: matrix products of {flop / 1e9:.3g} GFLOP": lambda: multiply(a, b)}
