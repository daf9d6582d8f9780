"""The Lovász extension of the Jaccard loss."""

from __future__ import annotations

import tensorflow as tf


def jaccard_extension(errors, truth, weight):
    """The Lovász extension of the Jaccard loss at given errors, with its exact (sub)gradient.

    The Jaccard loss of a set M of wrong pixels is `1 - |G minus M| / |G united with M|`, with G the pixels labelled so.
    Its extension to errors that are no sets is `sum_i errors[i] * slope[i]`: with the errors in descending order,
    `slope[i]` is what the Jaccard loss grows by when pixel i joins those before it (Berman, Triki, Blaschko
    2018). The sizes of sets are sums of weights: a pixel of weight 0 changes nothing, and the extension stays
    convex.

    The growth is not computed as a difference of two losses, whose rounding would be as large as itself from a million
    pixels on, but in closed form: `w / |U|` for a pixel of G and `w * |I| / (|U| * |U before|)` for another, with I and
    U the intersection and the union after pixel i.

    Args:
        errors: float32 `(R, N)`, at least 0: how wrong each pixel is, for R classes or images.
        truth: bool `(R, N)`: the pixels of G.
        weight: float32 `(R, N)`, at least 0: what each pixel counts.

    Returns:
        float32 `(R,)`. Where G is empty: the largest error, because the first wrong pixel makes the Jaccard loss 1. 0
        where no pixel counts.
    """
    counts = weight > 0
    # Pixels that do not count come last, whatever their errors: they move nothing in the order of the others.
    keys = tf.where(counts, tf.stop_gradient(errors), -tf.ones_like(errors))
    order = tf.argsort(keys, axis=-1, direction="DESCENDING", stable=True)
    errors, truth = (tf.gather(values, order, axis=1, batch_dims=1) for values in (errors, truth))
    # In float64 because float32 counts no further than 2**24.
    weight = tf.cast(tf.gather(weight, order, axis=1, batch_dims=1), tf.float64)
    none = tf.zeros_like(weight)
    labelled = tf.where(truth, weight, none)
    others = tf.where(truth, none, weight)
    intersection = tf.cumsum(labelled, axis=-1, exclusive=True, reverse=True)
    total = tf.reduce_sum(labelled, -1, keepdims=True)
    union = total + tf.cumsum(others, axis=-1)
    growth = tf.where(truth, weight, tf.math.divide_no_nan(others * intersection, union - others))
    slope = tf.math.divide_no_nan(growth, union)
    is_first = tf.equal(tf.range(tf.shape(order)[1]), 0) & (weight > 0)
    slope = tf.where(total > 0, slope, tf.cast(is_first, tf.float64))
    return tf.reduce_sum(errors * tf.cast(tf.stop_gradient(slope), tf.float32), -1)


def as_rows(values, per_image):
    """Values of pixels and classes, `(B, H, W, C)`, as `(B * C, H * W)` if `per_image`, else `(C, B * H * W)`."""
    classes = values.shape[-1]
    if not per_image:
        return tf.transpose(tf.reshape(values, [-1, classes]))
    shape = tf.shape(values)
    planes = tf.transpose(values, [0, 3, 1, 2])
    return tf.reshape(planes, tf.stack([shape[0] * classes, shape[1] * shape[2]]))


def rows_of_truth(targets, weight, classes, per_image):
    """Where each row of `as_rows` is labelled so, and what its pixels count.

    Args:
        targets: `kseg.losses.targets.Targets`.
        weight: float32 `(B, H, W)`.
        classes: the labels that the rows are of.
        per_image: as in `as_rows`.

    Returns:
        A bool and a float32 tensor of the rows' shape.
    """
    # Compared row by row: to transpose bools, oneDNN refuses with an error in the log.
    images = tf.shape(weight)[0] if per_image else 1
    pixels = tf.math.floordiv(tf.size(weight), tf.maximum(images, 1))
    labels, weight = (tf.reshape(values, tf.stack([images, 1, pixels])) for values in (targets.labels, weight))
    truth = tf.equal(labels, tf.constant(list(classes), labels.dtype)[:, tf.newaxis])
    weight = tf.broadcast_to(weight, tf.shape(truth))
    return tuple(tf.reshape(values, tf.stack([images * len(classes), pixels])) for values in (truth, weight))


def of_rows(values, classes, per_image):
    """What was computed for each row of `as_rows`, `(B * C,)` or `(C,)`, as `(B, C)` or `(C,)`."""
    return tf.reshape(values, [-1, classes]) if per_image else values
