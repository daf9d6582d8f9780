"""The specification of `kseg_ops.crop_masks` in stock TensorFlow.

Masks are decoded to zeros and ones, and each box is resampled by the weights of the reference of `roi_align`:
Wy * M * Wx^T. Weights and positions are float32, as torchvision has them; products and sums are float64 and rounded
once. With sums that precise, the order in which they are made shows in one result of many millions, so that a threshold
decides alike here and in the compiled op.

Everything compiles under XLA where shapes are static (for ragged masks: those of the flat values and splits). XLA drops
the checks: there, an index of no mask gives zeros. It may also fuse a multiplication and an addition, which can move a
polygon's border.
"""

from __future__ import annotations

import tensorflow as tf

from kseg_ops.reference.roi_samples import dense_weights, sample_taps

# COCO rasterises polygons on a grid five times as fine, with corners within int32.
_SCALE = 5
_MOST_COORDINATE = 2**26
_MOST_SIDE = 2**24
_MOST_PIXELS = 2**31 - 1


def crop_masks(masks, packed: bool, boxes, mask_indices, image_size, size, sampling_ratio: int, aligned: bool):
    """Crops of dense uint8 masks `[M, H, W]`, or of packed ones.

    Args:
        masks: uint8 `[M, H, W]` or `[M, H, ceil(W / 8)]`.
        packed: Which of the two.
        boxes: float32 `[K, 4]`.
        mask_indices: int32 `[K]`, -1 for none.
        image_size: H and W, each an int or an int32 scalar.
        size: Ints `(h, w)` of a crop.
        sampling_ratio: As for `roi_align`.
        aligned: As for `roi_align`.

    Returns:
        float32 `[K, h, w]`.
    """
    masks = tf.ensure_shape(masks, [None] * 3)
    columns = (image_size[1] + 7) // 8 if packed else image_size[1]
    fits = tf.reduce_all(tf.shape(masks)[1:] == tf.stack([image_size[0], columns]))
    check = tf.debugging.Assert(
        fits, ["masks must have shape [M, H, W] or, packed, [M, H, ceil(W / 8)]; got", tf.shape(masks), image_size]
    )
    with tf.control_dependencies(_made(check)):
        masks = tf.identity(masks)
    if packed:
        bits = tf.bitwise.right_shift(masks[..., None], tf.constant(list(range(8)), tf.uint8))
        bits = tf.bitwise.bitwise_and(bits, tf.constant(1, tf.uint8))
        rows = tf.reshape(bits, tf.shape(masks) * tf.constant([1, 1, 8]))
        masks = _sized(rows[:, :, : image_size[1]], image_size)
    else:
        masks = tf.cast(tf.not_equal(masks, 0), tf.uint8)
    return _crop(masks, boxes, mask_indices, image_size, size, sampling_ratio, aligned)


def crop_masks_rle(counts, mask_splits, boxes, mask_indices, image_size, size, sampling_ratio: int, aligned: bool):
    """Crops of run-length encoded masks: int32 counts, those of mask m from `mask_splits[m]`. Else as `crop_masks`."""
    counts = tf.cast(tf.ensure_shape(counts, [None]), tf.int64)
    mask_splits = tf.ensure_shape(mask_splits, [None])
    height, width = (tf.cast(side, tf.int64) for side in image_size)
    ends = tf.cumsum(counts)
    sums = tf.gather(tf.concat([[0], ends], axis=0), mask_splits)
    checks = [
        *_size_checks(height, width),
        *_split_checks(mask_splits, tf.size(counts, tf.int64), "mask_splits"),
        tf.debugging.Assert(
            tf.reduce_all(counts >= 0), ["masks counts must not be negative, got", tf.reduce_min(counts)]
        ),
        tf.debugging.Assert(
            tf.reduce_all(sums[1:] - sums[:-1] == height * width),
            ["masks counts must sum to height * width of image_size =", height * width, "got", sums[1:] - sums[:-1]],
            summarize=10,
        ),
    ]
    with tf.control_dependencies(_made(*checks)):
        ends = tf.identity(ends)

    def decode(mask):
        pixel = mask * height * width + tf.range(height * width)
        run = tf.searchsorted(ends, pixel, side="right", out_type=tf.int64)  # the first that ends beyond
        ones = tf.cast((run - mask_splits[mask]) % 2, tf.uint8)
        return tf.transpose(tf.reshape(ones, tf.stack([width, height])))

    masks = tf.map_fn(decode, tf.range(tf.size(mask_splits, tf.int64) - 1), fn_output_signature=tf.uint8)
    return _crop(_sized(masks, image_size), boxes, mask_indices, image_size, size, sampling_ratio, aligned)


def crop_masks_polygon(
    coordinates,
    polygon_splits,
    mask_splits,
    boxes,
    mask_indices,
    image_size,
    size,
    sampling_ratio: int,
    aligned: bool,
):
    """Crops of polygons, rasterised as COCO does; see `kseg_ops/reference/rle.py`. Else as `crop_masks`.

    Args:
        coordinates: float32 or float64 `[V]`: x and y in turn.
        polygon_splits: int64 `[P + 1]`: where each polygon begins in `coordinates`.
        mask_splits: int64 `[M + 1]`: where each mask begins among the polygons.
        boxes: See `crop_masks`, and so for the rest.
        mask_indices: See there.
        image_size: See there.
        size: See there.
        sampling_ratio: See there.
        aligned: See there.

    Returns:
        float32 `[K, h, w]`.
    """
    coordinates = tf.cast(tf.ensure_shape(coordinates, [None]), tf.float64)
    polygon_splits = tf.ensure_shape(polygon_splits, [None])
    mask_splits = tf.ensure_shape(mask_splits, [None])
    height, width = (tf.cast(side, tf.int64) for side in image_size)
    polygons = tf.size(polygon_splits, tf.int64) - 1
    checks = [
        *_size_checks(height, width),
        *_split_checks(polygon_splits, tf.size(coordinates, tf.int64), "polygon_splits"),
        *_split_checks(mask_splits, polygons, "mask_splits"),
        tf.debugging.Assert(
            tf.reduce_all(polygon_splits % 2 == 0),
            ["masks polygons must hold pairs of x and y, got splits", polygon_splits],
        ),
        tf.debugging.Assert(
            tf.reduce_all(tf.abs(coordinates) <= _MOST_COORDINATE),
            ["masks polygons must be finite and within", _MOST_COORDINATE, "pixels of the origin"],
        ),
    ]
    with tf.control_dependencies(_made(*checks)):
        fine = tf.cast(_SCALE * coordinates + 0.5, tf.int64)
    points = tf.reshape(fine, [-1, 2])
    first = polygon_splits // 2
    point = tf.range(tf.size(fine, tf.int64) // 2)
    polygon = tf.searchsorted(first, point, side="right", out_type=tf.int64) - 1
    beyond = tf.gather(first, tf.minimum(polygon + 1, polygons))
    following = tf.where(point + 1 < beyond, point + 1, tf.gather(first, polygon))
    crossed, position = _crossings(points, tf.gather(points, following), height, width)
    pixels = height * width

    def rasterise(index):
        mine = tf.cast(crossed & (polygon == index)[:, None], tf.int32)
        # A change past the last pixel is none; the segment for it also keeps the sum from having no segments.
        changes = tf.math.unsorted_segment_sum(mine, tf.minimum(position, pixels), pixels + 1)[:-1]
        return tf.cast(tf.cumsum(changes) % 2, tf.uint8)

    rasters = tf.map_fn(rasterise, tf.range(polygons), fn_output_signature=tf.uint8)
    masks = tf.size(mask_splits, tf.int64) - 1
    owner = tf.searchsorted(mask_splits, tf.range(polygons), side="right", out_type=tf.int64) - 1
    union = tf.math.unsorted_segment_sum(
        tf.cast(tf.reshape(rasters, tf.stack([polygons, pixels])), tf.int32), owner, masks
    )
    columns = tf.reshape(tf.cast(union > 0, tf.uint8), tf.stack([masks, width, height]))
    return _crop(tf.transpose(columns, [0, 2, 1]), boxes, mask_indices, image_size, size, sampling_ratio, aligned)


def _crossings(begin, end, height, width):
    """Whether each edge crosses the middle of each column, and the pixel (by columns) that changes: both `[E, W]`."""
    delta = tf.abs(end - begin)
    flat = delta[:, 0] >= delta[:, 1]
    turned = tf.where(flat, begin[:, 0] > end[:, 0], begin[:, 1] > end[:, 1])[:, None]
    begin, end = tf.where(turned, end, begin), tf.where(turned, begin, end)
    left = _SCALE * tf.range(width)[None] + 2  # the crossing lies between this fine column and the next
    low, high = tf.minimum(begin[:, :1], end[:, :1]), tf.maximum(begin[:, :1], end[:, :1])
    crossed = (low <= left) & (left < high)

    begin_x, begin_y = tf.split(tf.cast(begin, tf.float64), 2, axis=1)
    rise = tf.cast(end - begin, tf.float64)
    slope = tf.math.divide_no_nan(rise[:, 1:], rise[:, :1])
    step = tf.cast(left, tf.float64) - begin_x
    flat_row = tf.minimum(
        tf.cast(begin_y + slope * step + 0.5, tf.int64), tf.cast(begin_y + slope * (step + 1) + 0.5, tf.int64)
    )

    slope = tf.math.divide_no_nan(rise[:, :1], rise[:, 1:])
    guess = tf.math.divide_no_nan(tf.cast(left, tf.float64) + 0.5 - begin_x, slope)
    steps = tf.cast(delta[:, 1:], tf.float64)
    step = tf.clip_by_value(tf.floor(tf.clip_by_value(guess, 1.0, tf.maximum(steps, 1.0))), 1.0, tf.maximum(steps, 1.0))
    # The first step beyond the crossing, among those next to where it lies but for rounding.
    step = tf.clip_by_value(step[..., None] + tf.range(-4, 5, dtype=tf.float64), 1.0, tf.maximum(steps, 1.0)[..., None])
    column = tf.cast(begin_x[..., None] + slope[..., None] * step + 0.5, tf.int64)
    beyond = tf.where(slope[..., None] > 0, column > left[..., None], column <= left[..., None])
    step = tf.reduce_min(tf.where(beyond, step, steps[..., None]), axis=-1)
    steep_row = tf.cast(begin_y, tf.int64) + tf.cast(step, tf.int64) - 1

    fine_row = tf.cast(tf.where(flat[:, None], flat_row, steep_row), tf.float64)
    row = tf.math.ceil(tf.clip_by_value((fine_row + 0.5) / _SCALE - 0.5, 0.0, tf.cast(height, tf.float64)))
    return crossed, tf.range(width)[None] * height + tf.cast(row, tf.int64)


def _crop(masks, boxes, mask_indices, image_size, size, sampling_ratio: int, aligned: bool):
    """`masks`: uint8 `[M, H, W]` of zeros and ones."""
    boxes = tf.stop_gradient(tf.ensure_shape(boxes, [None, 4]))
    mask_indices = tf.ensure_shape(mask_indices, [None])
    count = tf.shape(masks)[0]
    known = (mask_indices >= -1) & (mask_indices < count)
    offender = tf.reduce_max(tf.where(known, tf.int32.min, mask_indices))
    checks = [
        tf.debugging.assert_equal(
            tf.shape(boxes)[0], tf.shape(mask_indices)[0], "mask_indices must have one entry per box"
        ),
        tf.debugging.Assert(
            tf.reduce_all(known),
            ["mask_indices must be in 0..M-1 with M =", count, "masks, or -1 for none, got", offender],
        ),
    ]
    with tf.control_dependencies(_made(*checks)):
        # One more mask, an empty one, for the boxes that have none.
        masks = tf.concat([masks, tf.zeros(tf.stack([1, image_size[0], image_size[1]]), tf.uint8)], axis=0)
    which = tf.where(known & (mask_indices >= 0), mask_indices, count)

    def crop(given):
        box, mask = given
        columns = _axis(box[0], box[2], image_size[1], size[1], sampling_ratio, aligned)
        rows = _axis(box[1], box[3], image_size[0], size[0], sampling_ratio, aligned)
        # Not masks[mask], whose place XLA would take for a constant and compile the whole step anew for each value.
        pixels = tf.cast(tf.gather(masks, mask), tf.float64)
        return tf.cast(rows @ pixels @ tf.transpose(columns), tf.float32)

    crops = tf.map_fn(crop, (boxes, which), fn_output_signature=tf.TensorSpec(size, tf.float32))
    return tf.ensure_shape(crops, [boxes.shape[0], *size])


def _axis(begin, end, extent, bins: int, sampling_ratio: int, aligned: bool):
    """The weights along one axis of one box: float64 `[bins, extent]`."""
    least = tf.maximum(extent, 1) if tf.is_tensor(extent) else max(extent, 1)  # weights need a pixel to be for
    taps = sample_taps(begin[None], end[None], least, bins, 1.0, sampling_ratio, aligned)
    return dense_weights(taps._replace(weight=tf.cast(taps.weight, tf.float64)), least)[0, :, :extent]


def _sized(masks, image_size):
    return tf.reshape(masks, tf.stack([tf.shape(masks)[0], image_size[0], image_size[1]]))


def _size_checks(height, width) -> list:
    fits = (tf.minimum(height, width) >= 0) & (tf.maximum(height, width) <= _MOST_SIDE)
    message = ["image_size must be in 0..", _MOST_SIDE, "and at most", _MOST_PIXELS, "pixels, got", height, width]
    return [tf.debugging.Assert(fits & (height * width <= _MOST_PIXELS), message)]


def _split_checks(splits, values, name: str) -> list:
    fits = (tf.size(splits) > 0) & tf.reduce_all(splits[:1] == 0) & tf.reduce_all(splits[-1:] == values)
    return [
        tf.debugging.Assert(
            fits & tf.reduce_all(splits[1:] >= splits[:-1]),
            [f"{name} must run from 0 to the number of values and not fall, got", splits],
        )
    ]


def _made(*checks) -> list:
    return [check for check in checks if check is not None]  # eager assertions return nothing
