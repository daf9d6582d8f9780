"""Cases and oracles for the ops that take the softmax of resized logits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

import kseg_ops
from kseg_ops import _library
from kseg_ops.reference.interpolation import resize_bilinear

CORE = _library.core()
EPS = float(np.finfo(np.float32).eps)
# Relative rounding to nearest.
UNIT = {"float32": EPS / 2, "float16": 2.0**-11, "bfloat16": 2.0**-8}

# Heights and widths of logits and of labels: every scale, odd sizes, single pixels.
SIZES = [
    ((5, 7), (5, 7)),
    ((5, 6), (10, 12)),
    ((4, 7), (15, 26)),  # 3.7
    ((18, 3), (72, 12)),
    ((2, 3), (16, 24)),
    ((3, 4), (40, 9)),
    ((9, 12), (4, 5)),
    ((8, 8), (4, 2)),
    ((1, 1), (6, 7)),
    ((1, 5), (3, 5)),
    ((33, 2), (34, 3)),
]


class Case(NamedTuple):
    labels: np.ndarray
    logits: tf.Tensor
    upstream: np.ndarray
    settings: dict


def random_case(seed, sizes, channels, scale=1.0, dtype="float32", **settings) -> Case:
    """Two images; a fifth of the pixels, and some whole rows, are void; labels have no structure."""
    rng = np.random.default_rng(seed)
    source, size = sizes
    logits = tf.cast(scale * rng.standard_normal((2, *source, channels)), dtype)
    labels = rng.integers(0, max(channels, 2), (2, *size))
    labels[rng.random(labels.shape) < 0.2] = 255
    labels[rng.random((2, size[0], 1)).repeat(size[1], 2) < 0.2] = 255
    return Case(labels.astype(np.int32), logits, rng.uniform(-1, 1, labels.shape).astype(np.float32), settings)


def loss_and_gradient(function, case: Case, logits=None):
    """As float64 arrays."""
    logits = tf.convert_to_tensor(case.logits if logits is None else logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = function(tf.constant(case.labels), logits, **case.settings)
    gradient = tape.gradient(loss, logits, tf.cast(case.upstream, loss.dtype))
    return tf.cast(loss, tf.float64).numpy(), tf.cast(gradient, tf.float64).numpy()


def exactly(case: Case):
    """Loss and gradient in float64, by the reference."""
    return loss_and_gradient(kseg_ops.resize_softmax_cross_entropy, case, tf.cast(case.logits, tf.float64))


def stock(labels, logits, ignore_index=255, class_weights=None, label_smoothing=0.0, align_corners=False):
    """What one would write without kseg, in float32."""
    labels, logits = tf.constant(labels), tf.cast(logits, tf.float32)
    size = labels.shape[1:3]
    resized = resize_bilinear(logits, size, True) if align_corners else tf.image.resize(logits, size)
    if logits.shape[-1] == 1:
        resized = tf.concat([tf.zeros_like(resized), resized], -1)
    valid = labels != ignore_index
    classes = resized.shape[-1]
    safe = tf.where(valid, labels, 0)
    target = tf.one_hot(safe, classes) * (1 - label_smoothing) + label_smoothing / classes
    loss = tf.nn.softmax_cross_entropy_with_logits(target, resized)
    if class_weights is not None:
        loss *= tf.gather(tf.constant(class_weights), safe)
    return tf.where(valid, loss, 0.0)


def allowed_errors(case: Case, truth, peer):
    """At most twice the stock float32 graph's own error, plus a few roundings: its own may by luck be none.

    A logit passes through about six roundings (three of the interpolation, of the shift by the pixel's largest and to
    base 2), each relative to the largest logits; a probability's relative error is that of its logit in nats, and some
    ten roundings of powers and products.
    """
    loss, gradient = truth
    peer_loss, peer_gradient = peer
    size = 1 + np.abs(tf.cast(case.logits, tf.float64)).max()
    heaviest = max(case.settings.get("class_weights") or [1.0])
    loss_error = 2 * np.abs(peer_loss - loss).max() + 3 * EPS * size * heaviest
    # What all upstream gradients together hand back to a source pixel.
    ones = tf.ones([*case.logits.shape[:3], 1], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(ones)
        resized = resize_bilinear(ones, case.labels.shape[1:], case.settings.get("align_corners", False))
    most = tape.gradient(resized, ones, tf.cast(np.abs(case.upstream)[..., None], tf.float64)).numpy().max()
    gradient_error = 2 * np.abs(peer_gradient - gradient).max() + (5 + 3 * size) * EPS * heaviest * most
    dtype = case.logits.dtype.name
    # One rounding to the logits' dtype; below 2**-14 a float16 is a multiple of 2**-24.
    return loss_error, gradient_error + UNIT[dtype] * np.abs(gradient) + (2.0**-25 if dtype == "float16" else 0)


def assert_close(case: Case, function) -> None:
    """Loss and gradient of `function` within what the rounding of float32 allows."""
    truth = exactly(case)
    loss_error, gradient_error = allowed_errors(case, truth, loss_and_gradient(stock, case))
    loss, gradient = loss_and_gradient(function, case)
    assert np.abs(loss - truth[0]).max() <= loss_error
    assert np.all(np.abs(gradient - truth[1]) <= gradient_error)
    assert loss.min() >= 0
    np.testing.assert_array_equal(loss[case.labels == 255], 0)
