"""Labels together with the distances that boundary losses need, for input pipelines."""

from __future__ import annotations

import tensorflow as tf

from kseg._class_arguments import check_ignore_index, check_num_classes
from kseg._whole_labels import whole_labels
from kseg.losses.class_distances import check_spacing, members_of, signed_distances


def with_distance_maps(labels, num_classes, ignore_index=255, spacing=1.0):
    """Labels with the signed distance to each class beside them, for `Boundary` and `Hausdorff`.

    Those losses otherwise compute the distances in each training step. In a `tf.data` pipeline the compiled op computes
    them on the CPU while the step before runs, and they can be cached. All losses of kseg take the result in place of
    labels, and so do `fit` and its kin of `kseg.SegmentationModel`, which give metrics the labels alone. Elsewhere, as
    in plain Keras models, metrics need the labels: `[..., :1]` of the result.

    Args:
        labels: integers (or whole floats) of one image, `(H, W)` or `(H, W, 1)`, or of a batch, `(B, H, W)` or
            `(B, H, W, 1)`. Of three axes the last is taken for the channel if it is known to be 1.
        num_classes: the number of classes of the logits, 1 for the sigmoid case.
        ignore_index: the label of void pixels, or None. Like other labels that are no class they belong to no region.
        spacing: as in `Boundary`.

    Returns:
        float32 `(H, W, 1 + C)` or `(B, H, W, 1 + C)`, with C = 2 in the sigmoid case: the label, then for each class
        the distance to its nearest pixel outside of it, and minus that to the nearest valid pixel of another class
        inside. +inf for a class that the image has not, -inf inside one that it is full of.

    Raises:
        ValueError: an argument outside its range; an ignore index that float32 cannot hold; labels of another rank.

    Example:
        >>> def prepare(image, labels):
        ...     return image, kseg.losses.with_distance_maps(labels, num_classes=3)
        >>> dataset = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        >>> model.compile(loss=WeightedSum([CrossEntropy(), Boundary()], [1.0, 0.01]))
        >>> model.fit(dataset.batch(4))
    """
    classes = max(check_num_classes(num_classes), 2)
    ignore_index = check_ignore_index(ignore_index)
    if ignore_index is not None and abs(ignore_index) > 2**24:
        raise ValueError(
            f"ignore_index must be within -2**24..2**24, because float32 holds the labels beside the maps; got "
            f"{ignore_index}. Replace it in the labels, for example by 255"
        )
    spacing = check_spacing(spacing)
    labels = whole_labels(labels)
    rank = labels.shape.rank
    if rank in (3, 4) and labels.shape[-1] == 1:
        labels = tf.squeeze(labels, -1)
    if labels.shape.rank not in (2, 3):
        raise ValueError(
            f"labels must have shape (H, W) or (B, H, W), or these with a last axis of 1; got {tuple(labels.shape)}"
            if rank is not None
            else "labels must have a known rank: set their shape with tf.ensure_shape"
        )
    one_image = labels.shape.rank == 2
    if one_image:
        labels = labels[tf.newaxis]
    wide = tf.cast(labels, tf.int64)
    valid = (wide >= 0) & (wide < classes)
    if ignore_index is not None:
        valid &= tf.not_equal(wide, ignore_index)
    safe = tf.where(valid, wide, 0)
    maps = signed_distances(safe, members_of(safe, valid, classes), spacing)
    packed = tf.concat([tf.cast(labels, tf.float32)[..., tf.newaxis], maps], axis=-1)
    return packed[0] if one_image else packed
