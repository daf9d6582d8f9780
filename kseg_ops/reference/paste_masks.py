"""The specification of `kseg_ops.paste_masks` in stock TensorFlow.

A mask is read with a border of one zero on every side, bilinearly, at a position per image pixel and axis, and the four
values around it are summed with products of the two weights `1 - f` and `f` per axis, `f` being the fraction of the
position. A pixel is set where the sum passes the threshold, and the sum may be exactly that: so the order of operations
and every rounding are part of the meaning. They are those of the two functions that define the modes, as compiled for
processors with fused multiply-add (`fma` below is one rounding of `a * b + c`), all in float32:

- detectron2: `g = (x + 0.5 - x1) / (x2 - x1) * 2 - 1`; position `fma(g + 1, w / 2, -0.5)` of `grid_sample` without
  aligned corners; `fma` over the products upper left, upper right, lower left, lower right; set where `>= threshold`.
  Pixels `floor(x1) - 1` up to `ceil(x2) + 1` count, as in detectron2 on a CPU.
- torchvision: boxes grow by `(w + 2) / w` about their centres and are cut to integers, and the bordered mask is resized
  to them by `interpolate`: position `scale * (i + 0.5) - 0.5`, at least 0; along rows first,
  `fma(left, 1 - f, right * f)`, then between them in the same way; set where `> threshold`. Where the box has at most
  128 rows and columns together, the position is `fma(scale, i + 0.5, -0.5)`, and `fma` sums four products: upper right,
  upper left, lower left, lower right.

Under XLA, which may fuse a multiplication with the addition behind it, the last bit of a position can differ.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kseg_ops.reference import mask_bits

# Rows of the image that one step computes.
_BAND = 32
# Beyond this, torchvision's own form cannot run; the compiled op clamps in the same way.
_FARTHEST = 2.0**30


def paste_masks(masks, boxes, image_size, threshold: float, mode: str, output: str):
    """Binary masks of the size of the image. Arguments and result as for `kseg_ops.paste_masks`, already checked.

    Compiles under XLA where shapes are static, except for run lengths, whose number depends on the data.
    """
    masks = tf.cast(tf.ensure_shape(masks, [None] * 3), tf.float32)
    boxes = tf.ensure_shape(boxes, [None, 4])
    static = tf.get_static_value(image_size)
    image_size = tf.ensure_shape(image_size, [2])
    height, width = (image_size[0], image_size[1]) if static is None else (int(static[0]), int(static[1]))
    same = tf.debugging.assert_equal(tf.shape(masks)[0], tf.shape(boxes)[0], "boxes must be one per mask")
    with tf.control_dependencies([] if same is None else [same]):
        masks = tf.identity(masks)
    if tf.executing_eagerly():
        # Hundreds of small operations per mask: as a graph they take a twentieth of the time.
        dense = _GRAPHS[mode](masks, boxes, image_size, np.float32(threshold))
    else:
        dense = _paste_all(masks, boxes, height, width, np.float32(threshold), mode)
    dense = tf.ensure_shape(dense, [masks.shape[0], *([None, None] if static is None else [height, width])])
    if output == "dense":
        return dense
    return mask_bits.pack(dense) if output == "packed" else _run_lengths(dense)


def _paste_all(masks, boxes, height, width, threshold, mode: str) -> tf.Tensor:
    # One mask more than there are: map_fn does not know what shape to give to none.
    bordered = tf.pad(masks, [[0, 1], [1, 1], [1, 1]])
    boxes = tf.pad(boxes, [[0, 1], [0, 0]])
    empty = tf.size(masks) == 0
    static = [size if isinstance(size, int) else None for size in (height, width)]
    return tf.map_fn(
        lambda pair: _paste(*pair, height, width, threshold, mode, empty),
        (bordered, boxes),
        fn_output_signature=tf.TensorSpec(static, tf.uint8),
    )[:-1]


def _graph(mode: str):
    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, None, None]),
            tf.TensorSpec([None, 4]),
            tf.TensorSpec([2], tf.int32),
            tf.TensorSpec([]),
        ],
    )
    def paste(masks, boxes, image_size, threshold):
        return _paste_all(masks, boxes, image_size[0], image_size[1], threshold, mode)

    return paste


_GRAPHS = {mode: _graph(mode) for mode in ("detectron2", "torchvision")}


class _Axis(NamedTuple):
    """One axis of one box; image pixels begin..end-1 may be set."""

    begin: tf.Tensor  # int64
    end: tf.Tensor
    origin: tf.Tensor  # of an integer box
    samples: tf.Tensor  # its size


def _paste(mask, box, height, width, threshold, mode: str, empty) -> tf.Tensor:
    """One bordered mask `[h + 2, w + 2]` into one box: uint8 `[height, width]`."""
    finite = tf.reduce_all(tf.math.is_finite(box)) & ~empty
    box = tf.where(finite, box, tf.zeros_like(box))
    x, y = _axes(box, mask, height, width, mode)
    grid = mode == "detectron2"
    small = x.samples + y.samples <= 128

    def taps(pixels, axis, low, high, extent):
        """Indices and weights of both neighbours, and which pixels are inside the box."""
        inside = (pixels >= axis.begin) & (pixels < axis.end) & finite
        of = _grid_taps(pixels, low, high, extent) if grid else _resize_taps(pixels, axis, small, extent)
        return *of, inside

    extents = tf.shape(mask)
    columns = taps(tf.range(width, dtype=tf.int64), x, box[0], box[2], extents[1])
    strips = [tf.gather(mask, columns[side], axis=1) for side in (0, 1)]
    # Along rows, once for every row of the mask.
    between = _fma(strips[0], columns[2], strips[1] * columns[3])

    def band(index):
        rows = taps(index * _BAND + tf.range(_BAND, dtype=tf.int64), y, box[1], box[3], extents[0])
        upper, lower = ([tf.gather(strip, rows[side]) for strip in strips] for side in (0, 1))
        weights = [[rows[2 + i][:, None] * columns[2 + j] for j in (0, 1)] for i in (0, 1)]
        terms = [(upper[j], weights[0][j]) for j in (0, 1)] + [(lower[j], weights[1][j]) for j in (0, 1)]
        if grid:
            passes = _sum_of_products(terms) >= threshold
        else:
            product = tf.gather(between, rows[1]) * rows[3][:, None]
            resized = _fma(tf.gather(between, rows[0]), rows[2][:, None], product)
            in_one = _sum_of_products([terms[1], terms[0], terms[2], terms[3]])
            passes = tf.where(small, in_one, resized) > threshold
        return tf.cast(passes & rows[4][:, None] & columns[4], tf.uint8)

    bands = (height + _BAND - 1) // _BAND
    image = tf.zeros([bands, _BAND, width], tf.uint8)
    first = y.begin // _BAND
    last = tf.where(finite & (x.begin < x.end), (y.end + _BAND - 1) // _BAND, first)
    image = tf.while_loop(
        lambda index, _: index < last,
        lambda index, image: (index + 1, tf.tensor_scatter_nd_update(image, [[index]], band(index)[None])),
        (first, image),
    )[1]
    return tf.reshape(image, [bands * _BAND, width])[:height]


def _axes(box, mask, height, width, mode: str) -> tuple[_Axis, _Axis]:
    x, y = (box[0], box[2], width), (box[1], box[3], height)
    if mode == "detectron2":
        return _grid_axis(*x), _grid_axis(*y)
    inner = tf.cast(tf.maximum(tf.shape(mask)[1] - 2, 1), tf.float64)
    scale = tf.cast((inner + 2) / inner, tf.float32)
    return _resize_axis(*x, scale), _resize_axis(*y, scale)


def _grid_axis(low, high, size) -> _Axis:
    most = tf.cast(size, tf.float32)
    begin = tf.cast(tf.clip_by_value(tf.floor(low) - 1, 0, most), tf.int64)
    end = tf.cast(tf.clip_by_value(tf.math.ceil(high) + 1, 0, most), tf.int64)
    return _Axis(begin, end, begin, end - begin)


def _resize_axis(low, high, size, scale) -> _Axis:
    half = (high - low) * 0.5 * scale
    centre = (high + low) * 0.5
    low, high = centre - half, centre + half
    finite = tf.math.is_finite(low) & tf.math.is_finite(high)
    # Casting cuts towards 0.
    first, last = (
        tf.cast(tf.clip_by_value(tf.where(finite, edge, 0), -_FARTHEST, _FARTHEST), tf.int64) for edge in (low, high)
    )
    end = tf.where(finite, tf.minimum(last + 1, tf.cast(size, tf.int64)), 0)
    return _Axis(tf.maximum(first, 0), end, first, tf.maximum(last - first + 1, 1))


def _grid_taps(pixels, low, high, extent) -> tuple:
    inside = tf.cast(extent - 2, tf.float32)
    centre = tf.cast(pixels, tf.float32) + 0.5
    grid = (centre - low) / (high - low) * 2 - 1
    # In float64, where it is exact, and rounded: a graph's optimizer would make nothing of taking 1 away and adding it.
    grid = tf.cast(tf.cast(grid, tf.float64) + 1, tf.float32)
    position = _fma(grid, inside / 2, -0.5)
    floor = tf.floor(position)
    reads = (floor >= -1) & (floor <= inside - 1)  # NaN does not
    index = tf.cast(tf.where(reads, floor, -1), tf.int32) + 1
    fraction = position - floor
    return (
        index,
        tf.where(reads, index + 1, 0),
        tf.where(reads, 1 - fraction, 0.0),
        tf.where(reads, fraction, 0.0),
    )


def _resize_taps(pixels, axis: _Axis, small, extent) -> tuple:
    scale = tf.cast(extent, tf.float32) / tf.cast(axis.samples, tf.float32)
    centre = tf.cast(pixels - axis.origin, tf.float32) + 0.5
    position = tf.where(small, _fma(scale, centre, -0.5), scale * centre - 0.5)
    position = tf.maximum(position, 0)
    last = extent - 1
    index = tf.cast(tf.minimum(position, tf.cast(last, tf.float32)), tf.int32)
    fraction = tf.clip_by_value(position - tf.cast(index, tf.float32), 0, 1)
    return index, tf.minimum(index + 1, last), 1 - fraction, fraction


def _sum_of_products(terms) -> tf.Tensor:
    total = terms[0][0] * terms[0][1]
    for value, weight in terms[1:]:
        total = _fma(value, weight, total)
    return total


def _fma(a, b, c) -> tf.Tensor:
    """`a * b + c` in float32, rounded once.

    In float64 the product is exact and the sum is not. Rounding it again to float32 goes wrong only if it lies halfway
    between two of those. So the sum is made odd first, in its last bit, wherever something of it was lost: an odd
    number never lies halfway.
    """
    a, b, c = (tf.cast(value, tf.float64) for value in (a, b, c))
    product = a * b
    total = product + c
    rest = total - product
    lost = (product - (total - rest)) + (c - rest)
    bits = tf.bitcast(total, tf.int64)
    even = tf.bitwise.bitwise_and(bits, tf.constant(1, tf.int64)) == 0
    # Away from 0 if what was lost has the sign of the sum.
    step = tf.where((lost > 0) == (total > 0), tf.constant(1, tf.int64), tf.constant(-1, tf.int64))
    inexact = (lost != 0) & even & tf.math.is_finite(total)
    return tf.cast(tf.bitcast(tf.where(inexact, bits + step, bits), tf.float64), tf.float32)


def _run_lengths(dense: tf.Tensor) -> tf.RaggedTensor:
    shape = tf.shape(dense)
    count, pixels = shape[0], shape[1] * shape[2]
    flat = tf.reshape(tf.transpose(dense, [0, 2, 1]), [count, pixels])
    changes = tf.where(tf.pad(flat, [[0, 0], [1, 0]])[:, :-1] != flat)
    rows, at = changes[:, 0], tf.cast(changes[:, 1], tf.int32)
    at = tf.RaggedTensor.from_value_rowids(at, rows, nrows=tf.cast(count, tf.int64))
    begins = tf.concat([tf.zeros([count, 1], tf.int32), at], 1)
    ends = tf.concat([at, tf.fill([count, 1], pixels)], 1)
    return ends - begins
