"""The targets of detectors: what they must be."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _graphs


def checked_targets(targets, *, images, num_classes, names):
    """The targets of a batch, their classes checked when the step runs.

    Args:
        targets: the dictionary that a data set gave.
        images: the batch `(B, H, W, C)`.
        num_classes: how many classes the model has.
        names: what the dictionary must hold.

    Raises:
        TypeError: no dictionary; classes that are no integers; masks that are not packed.
        ValueError: something is missing, or of another shape.
        tf.errors.InvalidArgumentError: when the step runs: a class out of range, a box of an object without an area.
    """
    if not isinstance(targets, dict):
        raise TypeError(f"targets must be a dict of {', '.join(names)}; got {type(targets).__name__}")
    missing = [name for name in names if targets.get(name) is None]
    if missing:
        raise ValueError(
            f"targets must be a dict of {', '.join(names)}; {' and '.join(missing)} missing, it has "
            f"{', '.join(targets)}"
        )
    targets = {name: tf.convert_to_tensor(value) for name, value in targets.items() if value is not None}
    _check_shapes(targets, images)
    classes = targets["classes"]
    if not classes.dtype.is_integer:
        raise TypeError(f"classes must be integers, -1 for padding; got {classes.dtype.name}")
    classes = tf.cast(classes, tf.int32)
    # On the way, so that no step can run without it; XLA leaves it out.
    checks = [
        tf.debugging.assert_less(
            classes, num_classes, f"classes must be in 0..{num_classes - 1}, or -1 for padding", summarize=10
        ),
        tf.debugging.assert_greater(
            classes, -2, f"classes must be in 0..{num_classes - 1}, or -1 for padding", summarize=10
        ),
        _assert_boxes(targets["boxes"], classes),
    ]
    with tf.control_dependencies([check for check in checks if check is not None]):
        return {**targets, "classes": tf.identity(classes)}


OBJECT_AXIS = ("boxes", "classes", "crowd", "masks")


def without_padding(targets):
    """The same targets, without the places behind the last object of any image, which cost memory in matching.

    Where XLA may compile the graph, which needs sizes that are known beforehand, they stay.
    """
    if _graphs.is_for_xla("batched_nms"):
        return targets
    numbers = tf.range(tf.shape(targets["classes"])[1]) + 1
    count = tf.maximum(tf.reduce_max(tf.where(targets["classes"] >= 0, numbers, 0)), 1)
    return {name: value[:, :count] if name in OBJECT_AXIS else value for name, value in targets.items()}


def _assert_boxes(boxes, classes):
    """That objects have an area: with nothing to match it, the best of them would be learned as background."""
    boxes = tf.cast(boxes, tf.float32)
    sound = tf.reduce_all(boxes[..., 2:] > boxes[..., :2], axis=-1) & tf.reduce_all(tf.math.is_finite(boxes), axis=-1)
    # One place more, so that there is one to show.
    bad = tf.pad(tf.reshape((classes >= 0) & ~sound, [-1]), [[0, 1]])
    first = tf.gather(tf.pad(tf.reshape(boxes, [-1, 4]), [[0, 1], [0, 0]]), tf.argmax(tf.cast(bad, tf.int32)))
    return tf.debugging.Assert(
        ~tf.reduce_any(bad),
        [
            "boxes of objects must be finite x1, y1, x2, y2 in pixels, x2 above x1 and y2 above y1 (COCO's files have "
            "x, y, width, height); places without an object have the class -1. Got",
            first,
        ],
    )


def _check_shapes(targets, images):
    batch, _, width, _ = images.shape
    objects = targets["classes"].shape[1] if targets["classes"].shape.rank == 2 else None
    expected = {
        "classes": ("(B, N)", [batch, None]),
        "boxes": ("(B, N, 4)", [batch, objects, 4]),
        "crowd": ("(B, N)", [batch, objects]),
        "sizes": ("(B, 2)", [batch, 2]),
        "masks": (
            "(B, N, H, ceil(W / 8)) of kseg_ops.pack_masks",
            [batch, objects, images.shape[1], None if width is None else -(-width // 8)],
        ),
    }
    for name, (text, shape) in expected.items():
        if name in targets and not targets[name].shape.is_compatible_with(shape):
            raise ValueError(
                f"{name} must have shape {text} for images of shape {tuple(images.shape)}; got "
                f"{tuple(targets[name].shape)}"
            )
    if "masks" in targets and targets["masks"].dtype != tf.uint8:
        raise TypeError(
            f"masks must be uint8, packed by kseg_ops.pack_masks; got {targets['masks'].dtype.name} of shape "
            f"{tuple(targets['masks'].shape)}"
        )
