"""Labels, logits and weights in the one form that the losses compute with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from kseg._class_arguments import is_finite_number
from kseg._corner_alignment import corners_are_aligned
from kseg._whole_labels import whole_labels
from kseg.layers._interpolation import resize_bilinear


class Targets(NamedTuple):
    """What a loss computes with; `P` stands for the pixel dimensions `(B, H, W)`.

    Attributes:
        labels: `P`, int32, 0 at void pixels, so that it can index classes.
        valid: `P`, bool, False at void pixels.
        logits: `P + (C,)`, float32; smaller in height and width if `small`.
        num_classes: 2 for single-channel logits (background, foreground), C otherwise.
        small: whether the logits are, or may turn out to be, smaller than the labels: losses then upsample them
            bilinearly (half-pixel centres) within the op that computes them.
        entropy: `P`: the cross-entropy without class weights, if a sweep over small logits has already found it.
        region_sums: `kseg_ops.CrossEntropyAndDice`, if that sweep has found the sums of `RegionLoss` too.
        distance_maps: `P + (num_classes,)`: what `kseg.losses.with_distance_maps` put beside the labels.
    """

    labels: tf.Tensor
    valid: tf.Tensor
    logits: tf.Tensor
    num_classes: int
    small: bool = False
    entropy: tf.Tensor | None = None
    region_sums: tuple | None = None
    distance_maps: tf.Tensor | None = None

    def marked_labels(self):
        """The labels with `VOID` at void pixels, for kseg's ops."""
        return tf.where(self.valid, self.labels, VOID)


VOID = -1


def prepare_targets(y_true, y_pred, ignore_index) -> Targets:
    """Check labels and logits and bring them into one form.

    Args:
        y_true: labels `(B, H, W)` or `(B, H, W, 1)`, integers or floats that are whole; or what
            `kseg.losses.with_distance_maps` made of them.
        y_pred: floating logits `(B, H, W, C)`, or smaller in height or width; the class dimension must be known when
            the graph is built.
        ignore_index: int or None.

    Raises:
        ValueError: unknown class dimension, sizes that differ.
        tf.errors.InvalidArgumentError: a label outside the range, when run; not under XLA, which drops assertions:
            there such a pixel counts as void.
    """
    y_pred = tf.convert_to_tensor(y_pred)
    if not y_pred.dtype.is_floating:
        raise ValueError(f"y_pred must be floating-point logits; got {y_pred.dtype.name}")
    channels = y_pred.shape[-1]
    if channels is None:
        raise ValueError(f"the last dimension of y_pred, the classes, must be known; got shape {tuple(y_pred.shape)}")
    num_classes = 2 if channels == 1 else int(channels)

    y_true, distance_maps = _without_distance_maps(tf.convert_to_tensor(y_true), y_pred, num_classes)
    labels, small = _match_pixels(whole_labels(y_true), y_pred)
    # 64-bit and unsigned 32-bit labels are compared before they are narrowed, so that none wraps into the range.
    wide = labels if labels.dtype in (tf.int64, tf.int32) else tf.cast(labels, _comparison_dtype(labels.dtype))
    in_range = (wide >= 0) & (wide < num_classes)
    if ignore_index is None or not wide.dtype.min <= ignore_index <= wide.dtype.max:  # then no label can be void
        void = tf.zeros_like(in_range)
    else:
        void = tf.equal(wide, tf.constant(ignore_index, wide.dtype))
    valid = in_range & ~void
    check = _assert_labels(wide, in_range | void, num_classes, ignore_index)
    with tf.control_dependencies([check] if check is not None else []):
        valid = tf.identity(valid)
    safe = tf.cast(tf.where(valid, wide, tf.zeros_like(wide)), tf.int32)
    return Targets(safe, valid, tf.cast(y_pred, tf.float32), num_classes, small, distance_maps=distance_maps)


def full_size_logits(targets):
    """The logits at the size of the labels: small ones upsampled bilinearly, as `aligned_corners` says."""
    if not targets.small:
        return targets.logits
    size = targets.labels.shape[1:3]
    size = size if size.is_fully_defined() else tf.shape(targets.labels)[1:3]
    return resize_bilinear(targets.logits, size, corners_are_aligned())


def class_probabilities(targets):
    """The softmax of the logits at the size of the labels; background and foreground for single-channel logits."""
    logits = full_size_logits(targets)
    if logits.shape[-1] > 1:
        return tf.nn.softmax(logits)
    foreground = tf.sigmoid(logits)
    return tf.concat([1 - foreground, foreground], axis=-1)


def valid_weights(targets, sample_weight):
    """What each pixel counts, float32 of the labels' shape: its sample weight, or 1; 0 at void pixels."""
    weight = tf.cast(targets.valid, tf.float32)
    return weight if sample_weight is None else weight * pixel_weights(sample_weight, targets.labels)


def pixel_weights(sample_weight, labels):
    """Sample weights as a float32 tensor that broadcasts over the pixels `(B, H, W)`.

    Args:
        sample_weight: a scalar, one weight per image `(B,)` or `(B, 1)`, or one per pixel `(B, H, W)` or
            `(B, H, W, 1)`.
        labels: `(B, H, W)`.

    Raises:
        ValueError: a shape of another rank.
    """
    weight = tf.cast(tf.convert_to_tensor(sample_weight), tf.float32)
    rank, pixels_rank = weight.shape.rank, labels.shape.rank
    if rank is None:
        return _weights_of_unknown_rank(weight, pixels_rank)
    if rank == 0 or rank == pixels_rank:
        return weight
    if rank == pixels_rank + 1 and weight.shape[-1] == 1:
        return tf.squeeze(weight, -1)
    if rank == 1 or (rank == 2 and weight.shape[-1] == 1):
        return tf.reshape(weight, [-1] + [1] * (pixels_rank - 1))
    raise ValueError(
        "sample_weight must be one weight per image (B,) or per pixel (B, H, W) or (B, H, W, 1); "
        f"got shape {tuple(weight.shape)} for labels of shape {tuple(labels.shape)}"
    )


def _weights_of_unknown_rank(weight, pixels_rank):
    """Weights in a step that was traced for one per image and one per pixel."""
    shape = tf.shape(weight)
    padded = tf.concat([shape, tf.ones([pixels_rank], tf.int32)], 0)
    message = "sample_weight must be one weight per image (B,) or per pixel (B, H, W) or (B, H, W, 1); got shape"
    rank = tf.size(shape)
    fits = tf.equal(tf.reduce_prod(padded[:pixels_rank]), tf.size(weight)) & (
        (rank <= 1) | (rank >= pixels_rank) | tf.equal(tf.size(weight), padded[0])
    )
    check = tf.debugging.Assert(fits, [message, shape])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.reshape(weight, tf.reshape(padded[:pixels_rank], [pixels_rank]))


def check_class_weights(class_weights):
    """Class weights as a tuple of floats, or None.

    Args:
        class_weights: one weight per class, as a sequence or as a dict from the class numbers 0, 1, ... to weights.

    Raises:
        ValueError: nothing in it, a negative or non-finite weight, or only zeros; a dict without one of the classes.
    """
    if class_weights is None:
        return None
    given = class_weights
    if isinstance(given, Mapping):
        if set(given) != set(range(len(given))):
            raise ValueError(
                "class_weights as a dict must have a weight for every class number 0, 1, ... and no other keys; got "
                f"the keys {list(given)!r}"
            )
        given = [given[index] for index in range(len(given))]
    try:
        weights = tuple(float(weight) for weight in given if not isinstance(weight, str))
    except (TypeError, ValueError):
        weights = ()
    if (
        not weights
        or len(weights) != len(given)
        or any(not is_finite_number(w) or w < 0 for w in weights)
        or not any(weights)
    ):
        raise ValueError(
            f"class_weights must be finite numbers of at least 0, one per class, not all 0; got {class_weights!r}"
        )
    return weights


def class_weight_vector(class_weights, num_classes):
    """Class weights as a float32 vector of the right length.

    Raises:
        ValueError: another number of weights than of classes.
    """
    if len(class_weights) != num_classes:
        hint = " (single-channel logits have two: background, foreground)" if num_classes == 2 else ""
        raise ValueError(
            f"class_weights has {len(class_weights)} weights, but the logits have {num_classes} classes{hint}"
        )
    return tf.constant(class_weights, tf.float32)


def _without_distance_maps(y_true, y_pred, num_classes):
    """Labels `(B, H, W, 1)` and maps, if `with_distance_maps` joined them; else what came, and None."""
    ranks = y_true.shape.rank, y_pred.shape.rank
    if ranks != (4, 4) or not y_true.dtype.is_floating or y_true.shape[-1] in (None, 1):
        return y_true, None
    if y_true.shape[-1] != 1 + num_classes:
        raise ValueError(
            f"labels (y_true) of shape {tuple(y_true.shape)} do not fit logits (y_pred) of {num_classes} classes: "
            f"labels have 1 channel, and those of with_distance_maps(labels, {y_pred.shape[-1]}) {1 + num_classes}"
        )
    return y_true[..., :1], tf.cast(y_true[..., 1:], tf.float32)


def _comparison_dtype(dtype):
    return tf.int64 if dtype in (tf.uint32, tf.uint64) else tf.int32


def _match_pixels(y_true, y_pred):
    """The labels as `(B, H, W)`, checked against the logits' size, and whether the logits are to be upsampled."""
    if y_true.shape.rank is None:  # a step traced for both (B, H, W) and (B, H, W, 1)
        known = tf.concat([tf.shape(y_true), [1]], 0)
        y_true = tf.reshape(y_true, known[:3]) if y_pred.shape.rank == 4 else tf.reshape(y_true, tf.shape(y_pred)[:-1])
    if y_true.shape.rank == y_pred.shape.rank and y_true.shape[-1] == 1:
        y_true = tf.squeeze(y_true, -1)
    pixels = y_pred.shape[:-1]
    small = _may_be_small(y_true.shape, pixels)
    if not small and not y_true.shape.is_compatible_with(pixels):
        raise ValueError(
            f"labels (y_true) of shape {tuple(y_true.shape)} do not fit logits (y_pred) of shape "
            f"{tuple(y_pred.shape)}: expected {tuple(pixels)} or {(*pixels, 1)}. Labels must have the logits' height "
            "and width, or larger ones, to which the loss then upsamples the logits"
        )
    if y_true.shape.is_fully_defined() and pixels.is_fully_defined():
        return y_true, small
    message = (
        "labels (y_true) must have the batch size, height and width of the logits, or a larger height and width; got"
    )
    shapes = tf.shape(y_true), tf.shape(y_pred)[:-1]
    fits = tf.reduce_all(shapes[0][1:] >= shapes[1][1:] if small else tf.equal(*shapes)) & (
        tf.equal(shapes[0][0], shapes[1][0])
    )
    check = tf.debugging.Assert(fits, [message, shapes[0], "for logits of", shapes[1]])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(y_true), small


def _may_be_small(labels, pixels):
    """Whether static shapes say or allow that images of labels are larger than those of the logits."""
    if labels.rank != 3 or pixels.rank != 3 or not labels[:1].is_compatible_with(pixels[:1]):
        return False
    sides = list(zip(labels[1:], pixels[1:], strict=True))
    known = [side for side in sides if None not in side]
    return all(mine >= logits for mine, logits in known) and (len(known) < 2 or any(m > n for m, n in known))


def _assert_labels(labels, allowed, num_classes, ignore_index):
    # No strings are formatted here: XLA drops assertions, but refuses to compile string ops.
    flat = tf.reshape(allowed, [-1])
    padded = tf.concat([tf.reshape(labels, [-1]), tf.zeros([1], labels.dtype)], 0)  # so that an empty batch has a first
    first = padded[tf.argmin(tf.concat([tf.cast(flat, tf.int32), tf.ones([1], tf.int32)], 0))]
    message = f"labels (y_true) must be 0..{num_classes - 1} or ignore_index={ignore_index}; found"
    return tf.debugging.Assert(tf.reduce_all(flat), [message, first])
