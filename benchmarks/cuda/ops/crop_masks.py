"""crop_masks on a GPU: dense, packed and run-length encoded masks, and polygons."""

from __future__ import annotations

import numpy as np

from benchmarks.cuda.case import Case

HEIGHT, WIDTH = 37, 61
ROUNDING = 2.0**-24  # the last bit of a share, at most 1


def cases(seed: int) -> list[Case]:
    """Every form of masks; fixed and adaptive sampling, aligned or not, boxes of all kinds, no boxes, no masks."""
    generator = np.random.default_rng(seed)
    masks = _masks(generator)
    boxes, indices = _boxes(generator, len(masks))
    made = []
    for size, ratio, aligned in [((7, 5), 0, True), ((14, 14), 2, False), ((3, 4), 40, True), ((1, 1), 0, False)]:
        made += [form(masks, boxes, indices, size, ratio, aligned) for form in (dense, packed, runs)]
    for form in (dense, packed, runs):
        made.append(form(masks, boxes[:0], indices[:0], (4, 4), 0, True, "no boxes"))
        made.append(form(masks[:0], boxes, np.full_like(indices, -1), (4, 4), 0, True, "no masks"))
        made.append(form(masks[:, :1, :1].copy(), boxes, indices, (2, 3), 2, True, "one pixel"))
    for dtype, size, ratio, aligned in [
        ("float64", (7, 5), 0, True),
        ("float32", (14, 14), 2, False),
        ("float64", (3, 4), 40, True),
        ("float32", (1, 1), 0, False),
    ]:
        outlines = make_polygons(generator, len(masks), dtype)
        made.append(polygons(outlines, boxes, indices, size, ratio, aligned, dtype))
    made.append(polygons(outlines, boxes[:0], indices[:0], (4, 4), 0, True, "no boxes"))
    made.append(polygons(make_polygons(generator, 0), boxes, np.full_like(indices, -1), (4, 4), 0, True, "no masks"))
    return made


def _masks(generator: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    discs = [(y - 20) ** 2 + (x - cx) ** 2 < radius**2 for cx, radius in ((10, 9), (40, 25), (60, 3))]
    noise = generator.uniform(size=(2, HEIGHT, WIDTH)) < 0.4
    return np.stack([*discs, *noise, np.ones_like(discs[0]), np.zeros_like(discs[0])]).astype(np.uint8)


def _boxes(generator: np.random.Generator, masks: int) -> tuple[np.ndarray, np.ndarray]:
    count = 24
    corners = generator.uniform(-8, 50, (count, 2))
    boxes = np.concatenate([corners, corners + np.exp(generator.uniform(-1, 4, (count, 2)))], 1).astype(np.float32)
    boxes[:8] = [
        [0, 0, WIDTH, HEIGHT],
        [-200, -100, 300, 200],
        [100, 100, 120, 120],  # outside
        [5, 5, 5, 9],  # empty
        [9, 9, 3, 2],  # inverted
        [np.nan, 0, 5, 5],
        [0, 0, np.inf, 5],
        [-1e30, 2, 1e30, 6],
    ]
    indices = generator.integers(0, masks, count).astype(np.int32)
    indices[9] = -1
    return boxes, indices


def run_lengths(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By columns, zeros first: all counts, and where those of each mask begin."""
    counts, splits = [], [0]
    for mask in masks:
        flat = np.concatenate([[0], mask.T.reshape(-1) != 0])
        at = np.flatnonzero(np.diff(flat.astype(int)))
        counts.append(np.diff(np.concatenate([[0], at, [mask.size]])))
        splits.append(splits[-1] + len(counts[-1]))
    return np.concatenate([np.zeros(0, int), *counts]).astype(np.int32), np.array(splits, np.int64)


def make_polygons(
    generator: np.random.Generator, masks: int, dtype: str = "float64"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates, where each polygon begins, and where each mask begins among the polygons."""
    outlines, mask_splits = [np.zeros(0)], [0]
    for mask in range(masks):
        for _ in range(generator.integers(0, 4)):
            points = generator.choice([0, 1, 2, 3, 4, 7, 30])
            corners = generator.normal(0.5, 0.4, (points, 2)) * [WIDTH, HEIGHT]
            if mask % 3 == 0:  # on the grid that COCO rounds to, and halfway between
                corners = np.round(corners * 10) / 10
            elif mask % 3 == 1:  # with edges along the axes, and corners that repeat
                corners = np.round(corners / 4) * 4
            outlines.append(corners.reshape(-1))
        mask_splits.append(len(outlines) - 1)
    splits = np.cumsum([len(outline) for outline in outlines])
    return np.concatenate(outlines).astype(dtype), splits.astype(np.int64), np.array(mask_splits, np.int64)


def _case(form, launcher, given, masks, boxes, indices, size, ratio, aligned, what, last=()) -> Case:
    def expected():
        import kseg_ops

        with kseg_ops.use_reference():
            crops = kseg_ops.crop_masks(masks, boxes, size, indices, sampling_ratio=ratio, aligned=aligned)
        return [crops.numpy()]

    return _any_case(form, launcher, given, masks.shape[1:], expected, boxes, indices, size, ratio, aligned, what, last)


def _any_case(form, launcher, given, image_size, expected, boxes, indices, size, ratio, aligned, what, last=()) -> Case:
    return Case(
        name=f"crop_masks/{form}, {size}, sampling_ratio={ratio}, aligned={aligned}{what and ', ' + what}",
        launcher=launcher,
        inputs=[*given, boxes, indices],
        outputs=[np.zeros((len(boxes), *size), np.float32)],
        expected=expected,
        tolerance=[ROUNDING],
        numbers=[ratio, aligned, *image_size, *last],
    )


def dense(masks, boxes, indices, size, ratio, aligned, what="") -> Case:
    given = [masks * np.uint8(3)]  # whatever is not 0
    return _case("dense", "crop_dense_masks", given, masks, boxes, indices, size, ratio, aligned, what, [0])


def packed(masks, boxes, indices, size, ratio, aligned, what="") -> Case:
    given = [np.packbits(masks, axis=-1, bitorder="little")]
    return _case("packed", "crop_dense_masks", given, masks, boxes, indices, size, ratio, aligned, what, [1])


def runs(masks, boxes, indices, size, ratio, aligned, what="") -> Case:
    given = run_lengths(masks)
    return _case("run lengths", "crop_rle_masks", given, masks, boxes, indices, size, ratio, aligned, what)


def polygons(outlines, boxes, indices, size, ratio, aligned, what="") -> Case:
    coordinates, polygon_splits, mask_splits = outlines

    def expected():
        import tensorflow as tf

        import kseg_ops

        masks = tf.RaggedTensor.from_nested_row_splits(coordinates, [mask_splits, polygon_splits])
        with kseg_ops.use_reference():
            crops = kseg_ops.crop_masks(
                masks, boxes, size, indices, image_size=(HEIGHT, WIDTH), sampling_ratio=ratio, aligned=aligned
            )
        return [crops.numpy()]

    return _any_case(
        "polygons",
        "crop_polygon_masks",
        outlines,
        (HEIGHT, WIDTH),
        expected,
        boxes,
        indices,
        size,
        ratio,
        aligned,
        what,
    )
