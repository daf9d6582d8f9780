"""Max unpooling, forward and forward + backward, against PyTorch and against scattering in stock TensorFlow."""

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

TORCH = "torch max_unpool2d"
STOCK = "tf.scatter_nd"

# SegNet on images of 360 x 480: its last and its third unpooling.
CASES = ((2, 360, 480, 64), (2, 90, 120, 256))


def run(timer: Timer) -> list[Row]:
    """Times every case; PyTorch's column is there only where it is installed."""
    rows = []
    for shape in CASES:
        x = np.random.default_rng(0).standard_normal(shape, np.float32)
        y, indices = kseg_ops.max_pool_with_indices(x)
        ours = _tensorflow(x, y, indices, lambda y, indices, size=shape[1:3]: kseg_ops.max_unpool2d(y, indices, size))
        stock = _tensorflow(x, y, indices, lambda y, indices, shape=shape: _scatter(y, indices, shape))
        peers = [{STOCK: call} for call in stock]
        if torch is not None:
            for peer, call in zip(peers, _torch(x, y.numpy(), indices.numpy()), strict=True):
                peer[TORCH] = call
        pooled = x.nbytes // 4
        moved = (moving(2 * pooled, x.nbytes), moving(3 * pooled + x.nbytes, x.nbytes + pooled))
        for what, call, others, (limit, move) in zip(("", " + backward"), ours, peers, moved, strict=True):
            title = f"max_unpool2d to {'x'.join(map(str, shape))}, forward{what}"
            rows.append(timer.compare(title, call, {limit: move, **others}))
    return rows


def _scatter(y, indices, shape):
    """What one would write, with the indices that this op takes: duplicates would add up."""
    batch, height, width, channels = shape
    places = (tf.range(batch)[:, None, None, None] * (height * width) + indices) * channels + tf.range(channels)
    flat = tf.scatter_nd(tf.reshape(places, [-1, 1]), tf.reshape(y, [-1]), [batch * height * width * channels])
    return tf.reshape(flat, shape)


def _tensorflow(x, y, indices, op) -> tuple[Callable, Callable]:
    gradient = tf.constant(x)
    forward = tf.function(op)

    @tf.function
    def both(y, indices, gradient):
        with tf.GradientTape() as tape:
            tape.watch(y)
            x = op(y, indices)
        return x, tape.gradient(x, y, gradient)

    return lambda: forward(y, indices), lambda: both(y, indices, gradient)


def _torch(x, y, indices) -> tuple[Callable, Callable]:
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    x, y, indices = (torch.from_numpy(array.transpose(0, 3, 1, 2).copy()) for array in (x, y, indices))
    indices = indices.long()

    def forward():
        with torch.no_grad():
            return torch.nn.functional.max_unpool2d(y, indices, 2, output_size=x.shape[2:])

    def both():
        leaf = y.detach().requires_grad_()
        unpooled = torch.nn.functional.max_unpool2d(leaf, indices, 2, output_size=x.shape[2:])
        unpooled.backward(x)
        return unpooled, leaf.grad

    return forward, both
