"""The specification of `kseg_ops.roi_align` in stock TensorFlow.

Everything that RoIAlign does factors by axis; `roi_samples.py` has what happens along one. A bin is the mean over its
samples, of both axes at once.

Positions are computed in float32 (float64 for float64 features).
"""

from __future__ import annotations

import tensorflow as tf

from kseg_ops.reference.roi_samples import Taps, dense_weights, sample_taps, size_of

# Up to this sampling ratio each of the (2 * ratio)**2 products of taps is one gather; above, and with adaptive
# sampling, the weights become dense matrices.
_MOST_GATHERED = 3
# Elements that one chunk of boxes may take in the dense form: 128 MiB of float32.
_CHUNK_ELEMENTS = 1 << 25


def roi_align(
    features: tf.Tensor,
    boxes: tf.Tensor,
    box_indices: tf.Tensor,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> tf.Tensor:
    """Resamples boxes of feature maps to grids. Arguments and result as for `kseg_ops.roi_align`, already checked.

    Compiles under XLA where shapes are static, with adaptive sampling too. Two things differ from the compiled op. XLA
    drops the check of `box_indices`: there, a box of no image gives zeros. And with adaptive sampling, or a ratio above
    3, a NaN or infinity in `features` reaches every box: it meets weights that are zeros of a matrix and not absent.

    The backward pass of the gathers holds `(2 * sampling_ratio)**2` gradients of the size of the result, and twice that
    for a moment.

    Raises:
        tf.errors.InvalidArgumentError: `box_indices` out of range, or a feature map without pixels.
    """
    # Ranks may be unknown until here.
    features = tf.ensure_shape(features, [None] * 4)
    boxes = tf.ensure_shape(boxes, [None, 4])
    box_indices = tf.ensure_shape(box_indices, [None])
    compute = tf.float64 if features.dtype == tf.float64 else tf.float32
    batch, height, width = (size_of(features, axis) for axis in range(3))
    known = (box_indices >= 0) & (box_indices < batch)
    with tf.control_dependencies(_checks(features, boxes, box_indices, known)):
        # Coordinates have no gradient, as everywhere in the field: it would be zero almost everywhere.
        boxes = tf.cast(tf.stop_gradient(boxes), compute)
        box_indices = tf.where(known, box_indices, 0)
    values = tf.cast(features, compute)
    columns = sample_taps(boxes[:, 0], boxes[:, 2], width, output_size[1], spatial_scale, sampling_ratio, aligned)
    rows = sample_taps(boxes[:, 1], boxes[:, 3], height, output_size[0], spatial_scale, sampling_ratio, aligned)
    rows = rows._replace(weight=tf.where(known[:, None, None], rows.weight, 0))
    if gathers(features, sampling_ratio):
        first = tf.cast(box_indices, tf.int64)[:, None, None] * tf.cast(height, tf.int64)
        rows = rows._replace(index=(first + tf.cast(rows.index, tf.int64)) * tf.cast(width, tf.int64))
        columns = columns._replace(index=tf.cast(columns.index, tf.int64))
        pooled = pool_gathered(tf.reshape(values, [-1, size_of(values, 3)]), rows, columns)
    else:
        pooled = _pool_dense(
            values, box_indices, dense_weights(rows, height), dense_weights(columns, width), output_size
        )
    pooled = tf.cast(pooled, features.dtype)
    return tf.ensure_shape(pooled, [boxes.shape[0], *output_size, features.shape[3]])


def gathers(features: tf.Tensor, sampling_ratio: int) -> bool:
    """Whether bins are sums of gathered pixels (`pool_gathered`), or products with matrices."""
    # gather_nd refuses arrays without elements.
    return 0 < sampling_ratio <= _MOST_GATHERED and features.shape[3] != 0


def pool_gathered(pixels: tf.Tensor, rows: Taps, columns: Taps) -> tf.Tensor:
    """The bins `[K, h, w, C]` of boxes, from the pixels `[P, C]` of all feature maps one after the other.

    One gather of that size for every product of a row tap and a column tap, one after the other: all at once would
    take as many times the memory.

    Args:
        pixels: float32 or float64.
        rows: of which an index is the place of the first pixel of a row, int64.
        columns: of which an index is the way from there.
    """
    # The gradient of a gather is a list of rows. On their way through this, those of all gathers are added up at once.
    pixels = tf.reshape(pixels, tf.shape(pixels))
    total = None
    for row, row_weight in _along_bins(rows):
        for column, column_weight in _along_bins(columns):
            with tf.control_dependencies([] if total is None else [total]):
                place = row[:, :, None] + column[:, None, :]
            weight = (row_weight[:, :, None] * column_weight[:, None, :])[..., None]
            values = tf.gather(pixels, place)
            # A pixel that does not count must not turn the sum into NaN if it is infinite.
            values = tf.where(weight == 0, tf.zeros_like(values), weight * values)
            total = values if total is None else total + values
    return total


def _along_bins(taps: Taps):
    return zip(tf.unstack(taps.index, axis=-1), tf.unstack(taps.weight, axis=-1), strict=True)


def _pool_dense(values, box_indices, row_weights, column_weights, output_size: tuple[int, int]) -> tf.Tensor:
    """Wy * F * Wx^T per box, in chunks of boxes. A chunk sees the batch as one tall image: one product for all."""
    batch, height, width, channels = (size_of(values, axis) for axis in range(4))
    boxes = size_of(box_indices, 0)
    tall = tf.reshape(values, [batch * height, width * channels])

    def pool(chunk):
        image, row_weight, column_weight = chunk
        select = tf.one_hot(image, batch, dtype=values.dtype)
        count = size_of(image, 0)
        row_weight = tf.einsum("kph,kb->kpbh", row_weight, select)
        row_weight = tf.reshape(row_weight, [count * output_size[0], batch * height])
        rows = tf.reshape(row_weight @ tall, [count, output_size[0], width, channels])
        return tf.einsum("kqx,kpxc->kpqc", column_weight, rows)

    smallest, largest = (min, max) if _static(boxes, width, channels) else (tf.minimum, tf.maximum)
    per_box = largest(output_size[0] * width * channels, 1)
    size = largest(smallest(largest(_CHUNK_ELEMENTS // per_box, 1), boxes), 1)
    chunks = largest((boxes + size - 1) // size, 1)  # one of nothing but filling where there are no boxes
    missing = chunks * size - boxes

    def cut(tensor):  # [K, ...] to [chunks, size, ...]; the boxes that are added weigh nothing
        tensor = tf.pad(tensor, [[0, missing]] + [[0, 0]] * (tensor.shape.rank - 1))
        return tf.reshape(tensor, tf.concat([[chunks, size], tf.shape(tensor)[1:]], axis=0))

    parts = (box_indices, row_weights, column_weights)
    if isinstance(chunks, int) and chunks <= 1:
        return pool(parts)
    pooled = tf.map_fn(pool, tuple(cut(part) for part in parts), fn_output_signature=values.dtype)
    return tf.reshape(pooled, [chunks * size, *output_size, channels])[:boxes]


def _static(*sizes) -> bool:
    return all(isinstance(size, int) for size in sizes)


def _checks(features: tf.Tensor, boxes: tf.Tensor, box_indices: tf.Tensor, known: tf.Tensor) -> list:
    shape = tf.shape(features)
    offender = tf.reduce_max(tf.where(known, tf.int32.min, box_indices))
    pixels = tf.reduce_all(shape[1:3] > 0) | tf.equal(tf.shape(boxes)[0], 0)
    checks = [
        tf.debugging.assert_equal(
            tf.shape(boxes)[0], tf.shape(box_indices)[0], "box_indices must have one entry per box"
        ),
        tf.debugging.Assert(
            tf.reduce_all(known), ["box_indices must be in 0..B-1 with B =", shape[0], "images, got", offender]
        ),
        tf.debugging.Assert(pixels, ["features must have at least one row and one column, got shape", shape]),
    ]
    return [check for check in checks if check is not None]  # eager assertions return nothing
