"""Arguments of the ops that take the softmax of resized logits."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from kseg_ops._checks import as_class_weights, as_flag, as_ignore_index, as_label_smoothing, reject_keras_tensors
from kseg_ops._tensors import to_int64

_FLOATS = (tf.float32, tf.float16, tf.bfloat16, tf.float64)
_NATIVE_INTEGERS = (tf.uint8, tf.int8, tf.uint16, tf.int32, tf.int64)
_OTHER_INTEGERS = {tf.int16: tf.int32, tf.uint32: tf.int64}


class Settings(NamedTuple):
    """The arguments that are no tensors, in the order in which the reference takes them."""

    ignore_index: int | None
    class_weights: tuple[float, ...] | None
    label_smoothing: float
    align_corners: bool

    @classmethod
    def checked(cls, ignore_index, class_weights, label_smoothing, align_corners) -> Settings:
        return cls(
            as_ignore_index(ignore_index),
            as_class_weights(class_weights),
            as_label_smoothing(label_smoothing),
            as_flag("align_corners", align_corners),
        )

    @classmethod
    def of_op(cls, op: tf.Operation) -> Settings:
        return cls(
            op.get_attr("ignore_index") if op.get_attr("has_ignore_index") else None,
            tuple(op.get_attr("class_weights")) or None,
            op.get_attr("label_smoothing"),
            op.get_attr("align_corners"),
        )

    def attributes(self) -> dict:
        """For the compiled ops."""
        return {
            "ignore_index": 0 if self.ignore_index is None else self.ignore_index,
            "has_ignore_index": self.ignore_index is not None,
            "class_weights": list(self.class_weights or ()),
            "label_smoothing": self.label_smoothing,
            "align_corners": self.align_corners,
        }


def labels_and_logits(op: str, labels, logits, **others) -> tuple[tf.Tensor, tf.Tensor]:
    """Both as tensors of dtypes that the ops take."""
    reject_keras_tensors(
        op,
        "a loss such as kseg.losses.CrossEntropy in model.compile(loss=...), which takes logits smaller than labels",
        labels=labels,
        logits=logits,
        **others,
    )
    labels, logits = tf.convert_to_tensor(labels), tf.convert_to_tensor(logits)
    if labels.dtype == tf.uint64:
        labels = to_int64(labels)
    elif labels.dtype in _OTHER_INTEGERS:
        labels = tf.cast(labels, _OTHER_INTEGERS[labels.dtype])
    elif labels.dtype not in _NATIVE_INTEGERS:
        raise TypeError(f"labels must be integers, got dtype {labels.dtype.name}")
    if logits.dtype not in _FLOATS:
        raise TypeError(f"logits must be float32, float16, bfloat16 or float64, got dtype {logits.dtype.name}")
    return labels, logits


def check_arrays(labels: tf.Tensor, logits: tf.Tensor, settings: Settings) -> None:
    """ValueError where static shapes do not fit."""
    if labels.shape.rank not in (None, 3):
        raise ValueError(f"labels must have shape [B, H, W], got {labels.shape}")
    if logits.shape.rank is None:
        return
    if logits.shape.rank != 4:
        raise ValueError(f"logits must have shape [B, h, w, C], got {logits.shape}")
    if 0 in logits.shape[1:]:
        raise ValueError(
            f"logits must have a height, a width and a number of classes of at least 1, got shape {logits.shape}"
        )
    if labels.shape.rank is not None and not labels.shape[:1].is_compatible_with(logits.shape[:1]):
        raise ValueError(
            f"labels must have the batch size of logits: got labels of shape {labels.shape} and logits of shape "
            f"{logits.shape}"
        )
    channels, weights = logits.shape[-1], settings.class_weights
    classes = 2 if channels == 1 else channels
    if weights is not None and classes is not None and len(weights) != classes:
        hint = " (single-channel logits have two: background, foreground)" if channels == 1 else ""
        raise ValueError(f"class_weights must have one entry per class, {classes}{hint}, got {len(weights)}")


def as_pixel_weights(pixel_weights, labels: tf.Tensor) -> tf.Tensor:
    """float32 of rank 3, of the extents of labels or 1."""
    if pixel_weights is None:
        return tf.ones([1, 1, 1])
    weights = tf.convert_to_tensor(pixel_weights)
    if not (weights.dtype.is_floating or weights.dtype.is_integer):
        raise TypeError(f"pixel_weights must be numbers, got dtype {weights.dtype.name}")
    weights = tf.cast(weights, tf.float32)
    fits = weights.shape.rank in (None, 3)
    if fits and None not in (weights.shape.rank, labels.shape.rank):
        fits = all(
            None in (mine, theirs) or mine in (1, theirs)
            for mine, theirs in zip(weights.shape, labels.shape, strict=True)
        )
    if not fits:
        raise ValueError(
            f"pixel_weights must have the shape of labels, {labels.shape}, or 1 in place of an extent, got "
            f"{weights.shape}"
        )
    return weights


def gradient_of(function, logits: tf.Tensor, upstream):
    """The gradient of a reference, differentiated where the compiled op is not to be used."""
    with tf.GradientTape() as tape:
        tape.watch(logits)
        result = function(logits)
    return tape.gradient(result, logits, upstream)


# Element by element: even if all that goes in is.
_ELEMENTWISE = frozenset({"AddN", "AddV2", "Cast", "DivNoNan", "Identity", "Mul", "Neg", "RealDiv", "Sub"})
# What they take first, in another shape. (The gradients of broadcasting sum over axes, often over none.)
_RESHAPING = frozenset({"BroadcastTo", "ExpandDims", "Reshape", "Squeeze", "Sum", "Tile"})
_FILLED = frozenset({"Fill", "OnesLike", "ZerosLike"})
# Nothing is known of what a graph is given.
_GIVEN = frozenset({"Placeholder", "PlaceholderWithDefault"})


def looks_even(gradient: tf.Tensor, depth: int = 24) -> bool:
    """Whether a gradient from above may well be one number for each image, as after a mean, by how a graph makes it.

    Only a guess, on which the time depends but no result: a graph has to know before it runs whether the sweep of the
    loss should prepare for that.
    """
    if not tf.is_symbolic_tensor(gradient):
        return True
    shape, kind, inputs = gradient.shape, gradient.op.type, gradient.op.inputs
    if shape.num_elements() == 1 or (shape.rank == 3 and shape[1] == shape[2] == 1):
        return True
    if kind in _FILLED or kind in _GIVEN:
        return True
    if depth == 0:
        return False
    if kind in _RESHAPING:
        return looks_even(inputs[0], depth - 1)
    if kind == "SelectV2":  # as at void pixels
        return all(looks_even(tensor, depth - 1) for tensor in inputs[1:])
    if kind == "Const":
        value = tf.get_static_value(gradient)
        return value.size == 0 or bool((value == value.flat[0]).all())
    return kind in _ELEMENTWISE and all(looks_even(tensor, depth - 1) for tensor in inputs)
