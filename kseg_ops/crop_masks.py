"""Crops of binary masks: what a mask head is trained towards."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import (
    MAX_SAMPLING_RATIO,
    as_crop_size,
    as_flag,
    as_int,
    as_threshold,
    check_box_dtype,
    reject_keras_tensors,
)
from kseg_ops._tensors import to_int32
from kseg_ops.reference import crop_masks as _reference

_MAX_SIDE = 2**24


@tf.autograph.experimental.do_not_convert
def crop_masks(
    masks,
    boxes,
    size: int | tuple[int, int],
    mask_indices=None,
    *,
    width=None,
    image_size=None,
    sampling_ratio: int = 0,
    aligned: bool = True,
    threshold: float | None = None,
) -> tf.Tensor:
    """Resamples binary masks below boxes by RoIAlign: the targets of a mask head (He et al. 2017, "Mask R-CNN").

    Each value is the covered share of its bin, 0 to 1, by `roi_align`'s samples of the mask as an image of zeros and
    ones. Masks are read as bits; a float mask of the whole image never exists in the compiled form.

    How others set it:

    - detectron2 (`BitMasks.crop_and_resize`): the defaults, `aligned=True, sampling_ratio=0`, and `threshold=0.5`.
      `paste_masks` undoes these crops; those that are not aligned come back half a pixel off.
    - torchvision (`project_masks_on_boxes`): `aligned=False, sampling_ratio=0`.

    Args:
        masks: One of
            - dense: bool or uint8 `[M, H, W]`; what is not 0 belongs to the mask;
            - packed: uint8 `[M, H, ceil(W / 8)]` with `width`: pixel x is bit `x % 8`, lowest first, of byte `x // 8`;
            - run lengths: an integer `tf.RaggedTensor` `[M, (runs)]` with `image_size`: COCO's uncompressed counts, by
              columns, zeros first, which sum to `H * W`;
            - polygons: a float32 or float64 `tf.RaggedTensor` `[M, (polygons), (2 * points)]` with `image_size`: x and
              y in turn, rasterised as COCO does (`kseg_ops.rle.from_polygons`); a mask is the union of its polygons,
              and fewer than three points cover nothing. COCO computes in float64: float32 rounds coordinates such as
              10.7, which may move a border by a pixel.
        boxes: float32 `[K, 4]`: `x1, y1, x2, y2` in pixels of the masks, `x2` being the index of the last pixel + 1. A
            box that is not finite gives zeros. 16-bit boxes are refused.
        size: height and width `(h, w)` of a crop, or one int for both; 1 to 4096.
        mask_indices: int `[K]`: which mask each box is cut from, -1 (padding) giving zeros. None: box k from mask k.
        width: The width W of packed masks: an int or an int scalar. None: the masks are not packed.
        image_size: `(H, W)` of run lengths and polygons: ints or an int tensor `[2]`.
        sampling_ratio: Samples per bin and axis, 1 to 128; 0 adapts to the box, `ceil(box size / bins)`.
        aligned: See `roi_align`.
        threshold: None: shares as they are. A number: 1 where the share is at least that, else 0. Shares are rounded to
            float32 first; the compiled form and the reference decide alike.

    Batched, all of it has one more axis in front: masks `[B, M, ...]` (ragged ones `[B, (M), ...]`), boxes `[B, N, 4]`,
    mask_indices `[B, N]`, each into the masks of its own image. The images have one size.

    Returns:
        float32 `[K, h, w]`, or `[B, N, h, w]`. Targets: no gradient.

    Raises:
        TypeError: A dtype is not supported, an argument is not a number of its kind, or a tensor is a KerasTensor.
        ValueError: A static shape does not fit, or an argument is out of range or missing.
        tf.errors.InvalidArgumentError: `mask_indices` out of range, counts that do not sum to `H * W`, malformed
            polygons, or shapes known only at run time do not fit.

    Example:
        >>> mask = tf.constant([[[0, 0, 1, 1], [0, 0, 1, 1]]], tf.uint8)
        >>> kseg_ops.crop_masks(mask, [[0.0, 0.0, 4.0, 2.0]], size=(1, 2)).numpy()
        array([[[0., 1.]]], dtype=float32)
        >>> counts = tf.ragged.constant([[4, 4]])
        >>> kseg_ops.crop_masks(counts, [[1.0, 0.0, 3.0, 2.0]], (1, 2), image_size=(2, 4)).numpy()
        array([[[0., 1.]]], dtype=float32)
    """
    reject_keras_tensors(
        "crop_masks",
        "it inside the call() of a keras.layers.Layer with autocast=False (which keeps the boxes in float32)",
        masks=masks,
        boxes=boxes,
        mask_indices=mask_indices,
    )
    size = as_crop_size(size)
    sampling_ratio = as_int("sampling_ratio", sampling_ratio, 0, MAX_SAMPLING_RATIO)
    threshold = as_threshold(threshold)
    boxes = _as_boxes(boxes)
    given = _form_of(masks, image_size)(masks, width, image_size, boxes.shape.rank)
    batched = given.batched
    if not boxes.shape.is_compatible_with([None, None, 4] if batched else [None, 4]):
        raise ValueError(
            f"boxes must have shape {'[B, N, 4]' if batched else '[K, 4]'} for masks of rank {given.rank}, got "
            f"{boxes.shape}"
        )
    indices = _as_indices(mask_indices, boxes, given)
    lead = tf.shape(boxes)[:-1]
    static = boxes.shape[:-1]
    if batched:
        indices = given.flat_indices(indices)
        boxes = tf.reshape(boxes, [-1, 4])
    crops = given.crop(boxes, indices, size, sampling_ratio, as_flag("aligned", aligned))
    if threshold is not None:
        crops = tf.cast(crops >= threshold, tf.float32)
    if batched:
        crops = tf.ensure_shape(tf.reshape(crops, tf.concat([lead, size], axis=0)), [*static, *size])
    return crops


def _form_of(masks, image_size) -> type[_Masks]:
    if not isinstance(masks, tf.RaggedTensor):
        if isinstance(masks, (list, tuple)) and (image_size is not None or any(isinstance(m, dict) for m in masks)):
            raise TypeError(
                "masks must be a tf.RaggedTensor where they are run lengths or polygons, got a list: "
                "tf.ragged.constant([counts, ...]) or tf.ragged.constant([[polygon, ...], ...], dtype=tf.float64). "
                "kseg_ops.numpy.crop_masks takes COCO's own dicts and lists"
            )
        return _Dense
    if masks.dtype.is_floating:
        return _Polygons
    if not masks.dtype.is_integer:
        raise TypeError(f"masks must hold integer run lengths or floating polygons, got {masks.dtype.name}")
    return _Runs


def _as_boxes(value) -> tf.Tensor:
    dtype = tf.as_dtype(value.dtype) if hasattr(value, "dtype") else tf.float32
    check_box_dtype(dtype.name)
    if isinstance(value, tf.RaggedTensor):
        raise TypeError("boxes must be a dense tensor, padded with mask_indices of -1, got a RaggedTensor")
    boxes = tf.cast(value, tf.float32) if tf.is_tensor(value) else tf.convert_to_tensor(value, tf.float32)
    if boxes.shape.rank not in (None, 2, 3):
        raise ValueError(f"boxes must have shape [K, 4] or [B, N, 4], got {boxes.shape}")
    return boxes


def _as_indices(value, boxes: tf.Tensor, masks: _Masks) -> tf.Tensor:
    if value is None:
        own = boxes.shape[-2] if boxes.shape.rank else None
        if None not in (own, masks.static_count) and own != masks.static_count:
            raise ValueError(
                f"mask_indices must be given where there is not one mask per box, got {own} boxes and "
                f"{masks.static_count} masks"
            )
        return tf.broadcast_to(tf.range(tf.shape(boxes)[-2]), tf.shape(boxes)[:-1])
    indices = tf.convert_to_tensor(value)
    if indices.shape.num_elements() == 0 and not tf.is_tensor(value):
        indices = tf.cast(indices, tf.int32)  # an empty list is one of floats
    if not indices.dtype.is_integer:
        raise TypeError(f"mask_indices must be integers, got {indices.dtype.name}")
    if not indices.shape.is_compatible_with(boxes.shape[:-1]):
        raise ValueError(
            f"mask_indices must have one entry per box, got shape {indices.shape} for boxes of shape {boxes.shape}"
        )
    return to_int32(indices)


def _as_image_size(value) -> tuple:
    """Height and width, each an int or an int32 scalar."""
    if tf.is_tensor(value):
        if not value.dtype.is_integer or not value.shape.is_compatible_with([2]):
            raise ValueError(f"image_size must be two integers, height and width, got {value}")
        return tuple(tf.unstack(to_int32(value), num=2))
    try:
        pair = tuple(value)
    except TypeError:
        pair = ()
    if len(pair) != 2:
        raise ValueError(f"image_size must be two integers, height and width, got {value!r}")
    return tuple(
        to_int32(side) if tf.is_tensor(side) else as_int(f"image_size[{axis}]", side, 0, _MAX_SIDE)
        for axis, side in enumerate(pair)
    )


class _Masks:
    """Masks of one form. `counts` says how many there are per image of a batch, and `starts` how many before it."""

    op: str
    name: str
    rank: int
    batched: bool
    static_count: int | None
    image_size: tuple

    def flat_indices(self, indices: tf.Tensor) -> tf.Tensor:
        """Indices into the masks of all images, `[B * N]`."""
        counts, starts = (tensor[:, None] for tensor in self._counts_and_starts())
        known = (indices >= -1) & (indices < counts)
        offender = tf.reduce_max(tf.where(known, tf.int32.min, indices))
        checks = [
            tf.debugging.assert_equal(
                tf.shape(indices)[0], tf.shape(counts)[0], "boxes must have as many images as masks has"
            ),
            tf.debugging.Assert(
                tf.reduce_all(known),
                ["mask_indices must be in 0..M-1 with M masks per image, or -1 for none, got", offender],
            ),
        ]
        with tf.control_dependencies([check for check in checks if check is not None]):
            return tf.reshape(tf.where(known & (indices >= 0), indices + starts, -1), [-1])

    def _counts_and_starts(self) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError

    def _inputs(self) -> dict:
        raise NotImplementedError

    def crop(self, boxes, indices, size, sampling_ratio, aligned) -> tf.Tensor:
        native = _library.native_op(self.op)
        if native is None:
            reference = getattr(_reference, self.op)
            return reference(
                **self._inputs(),
                boxes=boxes,
                mask_indices=indices,
                image_size=self.image_size,
                size=size,
                sampling_ratio=sampling_ratio,
                aligned=aligned,
            )
        return native(
            **self._inputs(),
            boxes=boxes,
            mask_indices=indices,
            image_size=tf.stack(self.image_size),
            size=size,
            sampling_ratio=sampling_ratio,
            aligned=aligned,
        )


class _Dense(_Masks):
    op = "crop_masks"

    def __init__(self, masks, width, image_size, boxes_rank: int | None):
        if image_size is not None:
            raise ValueError("image_size goes with run lengths and polygons; dense masks have their own")
        masks = tf.convert_to_tensor(masks)
        self.packed = width is not None
        if masks.dtype == tf.bool and not self.packed:
            masks = tf.cast(masks, tf.uint8)
        if masks.dtype != tf.uint8:
            raise TypeError(f"masks must be {'uint8' if self.packed else 'bool or uint8'}, got {masks.dtype.name}")
        rank = masks.shape.rank or (boxes_rank and boxes_rank + 1)
        if rank not in (3, 4):
            raise ValueError(f"masks must have shape [M, H, W] or [B, M, H, W], got {masks.shape}")
        self.rank, self.batched = rank, rank == 4
        masks = tf.ensure_shape(masks, [None] * rank)
        self.static_count = masks.shape[-3]
        self._batch, self._count = tf.shape(masks)[0], tf.shape(masks)[-3]
        if self.batched:
            static = masks.shape
            flat = None if None in static[:2] else static[0] * static[1]
            masks = tf.reshape(masks, tf.concat([[self._batch * self._count], tf.shape(masks)[2:]], axis=0))
            masks = tf.ensure_shape(masks, [flat, *static[2:]])
        self.masks = masks
        height, columns = (tf.shape(masks)[axis] if masks.shape[axis] is None else masks.shape[axis] for axis in (1, 2))
        if self.packed:
            columns = self._as_width(width, masks.shape[2])
        self.image_size = (height, columns)

    @staticmethod
    def _as_width(width, row_bytes: int | None):
        if tf.is_tensor(width):
            if not width.dtype.is_integer or width.shape.rank not in (None, 0):
                raise ValueError(f"width must be an integer, got {width}")
            return to_int32(width)
        width = as_int("width", width, 0, _MAX_SIDE)
        if row_bytes is not None and row_bytes != (width + 7) // 8:
            raise ValueError(
                f"width must be that of the packed masks, which have {row_bytes} bytes per row, got {width}"
            )
        return width

    def _counts_and_starts(self):
        counts = tf.fill([self._batch], self._count)
        return counts, tf.cumsum(counts, exclusive=True)

    def _inputs(self) -> dict:
        return {"masks": self.masks, "packed": self.packed}


class _Ragged(_Masks):
    depth: int  # ragged axes of one image's masks
    what: str

    def __init__(self, masks: tf.RaggedTensor, width, image_size, boxes_rank: int | None):
        if width is not None:
            raise ValueError("width goes with packed masks; run lengths and polygons take image_size")
        if image_size is None:
            raise ValueError(f"image_size must be given with {self.what}")
        self.image_size = _as_image_size(image_size)
        splits = masks.nested_row_splits
        self.rank, self.batched = masks.shape.rank, len(splits) == self.depth + 1
        if masks.flat_values.shape.rank != 1 or len(splits) not in (self.depth, self.depth + 1):
            raise ValueError(
                f"masks must be a RaggedTensor with {self.depth} ragged axes for {self.what}, or {self.depth + 1} with "
                f"a batch, got ragged rank {masks.ragged_rank} and shape {masks.shape}"
            )
        self.values = masks.flat_values
        splits = [tf.cast(split, tf.int64) for split in splits]
        self._batch_splits = splits[0] if self.batched else None
        self.splits = splits[1:] if self.batched else splits
        self.static_count = None if self.batched else masks.shape[0]

    def _counts_and_starts(self):
        splits = tf.cast(self._batch_splits, tf.int32)
        return splits[1:] - splits[:-1], splits[:-1]


class _Runs(_Ragged):
    op, what, depth = "crop_masks_rle", "run lengths", 1

    def _inputs(self) -> dict:
        # Saturated, so that a count beyond int32 does not wrap round: either way it does not sum to H * W.
        return {"counts": to_int32(self.values), "mask_splits": self.splits[0]}


class _Polygons(_Ragged):
    op, what, depth = "crop_masks_polygon", "polygons", 2

    def _inputs(self) -> dict:
        if self.values.dtype not in (tf.float32, tf.float64):
            raise TypeError(f"masks must be float32 or float64 polygons, got {self.values.dtype.name}")
        return {"coordinates": self.values, "polygon_splits": self.splits[1], "mask_splits": self.splits[0]}


for _op in ("CropMasks", "CropMasksRle", "CropMasksPolygon"):
    _library.register_gradient(f"Kseg>{_op}")(None)
