"""Softmax cross-entropy of resized logits on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._checks import as_class_weights, as_flag, as_ignore_index, as_label_smoothing
from kseg_ops.numpy._arrays import as_native_order, as_supported_integers, core


def resize_softmax_cross_entropy(
    labels,
    logits,
    ignore_index: int | None = 255,
    class_weights=None,
    label_smoothing: float = 0.0,
    align_corners: bool = False,
) -> np.ndarray:
    """The cross-entropy of each pixel for bilinearly resized logits; `kseg_ops` states the semantics in full.

    Args:
        labels: Integers `[B, H, W]`.
        logits: `[B, h, w, C]`, float32, float16 or ml_dtypes' bfloat16.
        ignore_index: The label of void pixels, or None.
        class_weights: One factor per class (two for one channel), or None.
        label_smoothing: In [0, 1).
        align_corners: False for half-pixel centres, True for corner pixels that keep their centres.

    Returns:
        float32 `[B, H, W]`, 0 at void pixels.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: A dtype is none of the above.
        ValueError: Shapes do not fit, an argument is out of range, or a label is (the message names it).

    Example:
        >>> resize_softmax_cross_entropy(np.array([[[0, 255]]]), np.zeros((1, 1, 1, 2), np.float32))
        array([[[0.6931472, 0.       ]]], dtype=float32)
    """
    return core().resize_softmax_cross_entropy(
        as_supported_integers(labels),
        as_native_order(logits),
        *_settings(ignore_index, class_weights, label_smoothing, align_corners),
    )


def resize_softmax_cross_entropy_and_dice(
    labels,
    logits,
    pixel_weights=None,
    ignore_index: int | None = 255,
    class_weights=None,
    label_smoothing: float = 0.0,
    align_corners: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The same, and the sums of which Dice losses are made.

    Args:
        labels: Integers `[B, H, W]`.
        logits: As above.
        pixel_weights: What each pixel counts in the sums: `[B, H, W]`, or of extent 1 in any axis. None: 1 each.
        ignore_index: The label of void pixels, or None.
        class_weights: One factor per class for the loss, or None.
        label_smoothing: In [0, 1).
        align_corners: As above.

    Returns:
        The loss, float32 `[B, H, W]`, and float32 `[B, 3, classes]`: overlap, predicted and labelled of each class.

    Raises:
        As above.

    Example:
        >>> labels, logits = np.zeros((1, 4, 4), np.uint8), np.zeros((1, 2, 2, 2), np.float32)
        >>> loss, sums = resize_softmax_cross_entropy_and_dice(labels, logits)
        >>> loss.mean().round(4), sums[0]
        (np.float32(0.6931), array([[ 8.,  0.],
               [ 8.,  8.],
               [16.,  0.]], dtype=float32))
    """
    return core().resize_softmax_cross_entropy(
        as_supported_integers(labels),
        as_native_order(logits),
        *_settings(ignore_index, class_weights, label_smoothing, align_corners),
        _weights(pixel_weights),
    )


def resize_softmax_cross_entropy_gradient(
    labels,
    logits,
    loss_gradient,
    sums_gradient=None,
    pixel_weights=None,
    ignore_index: int | None = 255,
    class_weights=None,
    label_smoothing: float = 0.0,
    align_corners: bool = False,
) -> np.ndarray:
    """What gradients of the results above hand back to the logits.

    Args:
        labels: Integers `[B, H, W]`.
        logits: As above.
        loss_gradient: That of the loss, float32 `[B, H, W]`.
        sums_gradient: That of the sums, float32 `[B, 3, classes]`, or None if there are none.
        pixel_weights: As above; only with `sums_gradient`.
        ignore_index: The label of void pixels, or None.
        class_weights: One factor per class for the loss, or None.
        label_smoothing: In [0, 1).
        align_corners: As above.

    Returns:
        The gradient of the logits, in their shape and dtype.

    Raises:
        As above.

    Example:
        >>> labels, logits = np.zeros((1, 4, 4), np.uint8), np.zeros((1, 2, 2, 2), np.float32)
        >>> resize_softmax_cross_entropy_gradient(labels, logits, np.ones((1, 4, 4)))[0, 0, 0]
        array([-2.,  2.], dtype=float32)
    """
    dice = ()
    if sums_gradient is not None:
        dice = (_weights(pixel_weights), np.asarray(sums_gradient, np.float32))
    elif pixel_weights is not None:
        raise ValueError("pixel_weights must come with sums_gradient, got None for that")
    return core().resize_softmax_cross_entropy_grad(
        as_supported_integers(labels),
        as_native_order(logits),
        np.asarray(loss_gradient, np.float32),
        *_settings(ignore_index, class_weights, label_smoothing, align_corners),
        *dice,
    )


def _settings(ignore_index, class_weights, label_smoothing, align_corners) -> tuple:
    weights = as_class_weights(class_weights)
    return (
        as_ignore_index(ignore_index),
        None if weights is None else list(weights),
        as_label_smoothing(label_smoothing),
        as_flag("align_corners", align_corners),
    )


def _weights(pixel_weights) -> np.ndarray:
    return np.ones((1, 1, 1), np.float32) if pixel_weights is None else np.asarray(pixel_weights, np.float32)
