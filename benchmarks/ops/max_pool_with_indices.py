"""Max pooling with indices, forward and forward + backward, against PyTorch and stock TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable

# Before TensorFlow: see roi_align.py.
try:
    import torch
except ImportError:
    torch = None

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks.bandwidth import moving
from benchmarks.harness import Row, Timer

TORCH = "torch max_pool2d, return_indices"
TORCH_LAST = "torch, channels last"
STOCK = "tf.nn.max_pool_with_argmax"

# SegNet on images of 360 x 480: its first and its third pooling; and windows that overlap.
CASES = (((2, 360, 480, 64), 2, 2), ((2, 90, 120, 256), 2, 2), ((2, 112, 112, 64), 3, 2))


def run(timer: Timer) -> list[Row]:
    """Times every case; PyTorch's columns are there only where it is installed."""
    rows = []
    for shape, window, stride in CASES:
        generator = np.random.default_rng(0)
        x = generator.standard_normal(shape, np.float32)
        gradient = generator.standard_normal(
            (shape[0], *((size - window) // stride + 1 for size in shape[1:3]), shape[3]), np.float32
        )
        ours = _tensorflow(x, gradient, window, stride, kseg_ops.max_pool_with_indices, (window, stride))
        stock = _tensorflow(x, gradient, window, stride, tf.nn.max_pool_with_argmax, (window, stride, "VALID"))
        peers = [{STOCK: call} for call in stock]
        if torch is not None:
            for name, last in ((TORCH, False), (TORCH_LAST, True)):
                for peer, call in zip(peers, _torch(x, gradient, window, stride, last), strict=True):
                    peer[name] = call
        moved = (
            moving(x.nbytes, 2 * gradient.nbytes),
            moving(x.nbytes + 2 * gradient.nbytes, x.nbytes + 2 * gradient.nbytes),
        )
        title = f"max_pool_with_indices {'x'.join(map(str, shape))}, {window}x{window} stride {stride}"
        for what, call, others, (limit, move) in zip(("", " + backward"), ours, peers, moved, strict=True):
            rows.append(timer.compare(f"{title}, forward{what}", call, {limit: move, **others}))
    return rows


def _tensorflow(x, gradient, window, stride, op, arguments) -> tuple[Callable, Callable]:
    x, gradient = tf.constant(x), tf.constant(gradient)

    @tf.function
    def forward(x):
        return op(x, *arguments)

    @tf.function
    def both(x, gradient):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, indices = op(x, *arguments)
        return y, indices, tape.gradient(y, x, gradient)

    return lambda: forward(x), lambda: both(x, gradient)


def _torch(x, gradient, window, stride, last) -> tuple[Callable, Callable]:
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    layout = torch.channels_last if last else torch.contiguous_format
    x, gradient = (
        torch.from_numpy(array.transpose(0, 3, 1, 2).copy()).contiguous(memory_format=layout) for array in (x, gradient)
    )

    def forward():
        with torch.no_grad():
            return torch.nn.functional.max_pool2d(x, window, stride, return_indices=True)

    def both():
        leaf = x.detach().requires_grad_()
        y, indices = torch.nn.functional.max_pool2d(leaf, window, stride, return_indices=True)
        y.backward(gradient)
        return y, indices, leaf.grad

    return forward, both
