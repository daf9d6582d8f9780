"""multilevel_roi_align on a GPU: cases of all kinds of boxes over pyramids of odd sizes, and the race."""

from __future__ import annotations

import numpy as np

from benchmarks.cuda.case import FLOATS, Case
from benchmarks.cuda.device import convert, to_float
from benchmarks.cuda.ops.roi_align import grad_rounding, rounding
from kseg_ops._pyramid import level_areas, spatial_scales


def cases(seed: int) -> list[Case]:
    """Every dtype; one level and several; fixed and adaptive sampling; forward and backward."""
    generator = np.random.default_rng(seed)
    made = []
    for dtype in FLOATS:
        for levels, channels, size, ratio, aligned in [
            ((2, 3, 5), 3, (2, 3), 2, False),
            ((2, 3, 4, 5), 16, (7, 7), 2, True),
            ((3,), 5, (4, 2), 0, True),
        ]:
            made += _both(generator, dtype, levels, channels, 12, size, ratio, aligned)
        made += _both(generator, dtype, (2, 4), 4, 0, (7, 7), 2, True)
    return made


def _both(generator, dtype, levels, channels, count, size, ratio, aligned) -> list[Case]:
    """The forward and the backward pass."""
    height, width = 90, 120
    maps = {
        f"P{level}": generator.uniform(-1, 1, (2, -(-height >> level), -(-width >> level), channels))
        for level in levels
    }
    values = [convert(level.astype(np.float32), dtype) for level in maps.values()]
    corners = generator.uniform(-20, 100, (2, count, 2))
    sides = np.exp(generator.uniform(np.log(2), np.log(900), (2, count, 2)))
    boxes = np.concatenate([corners, corners + sides], -1).astype(np.float32)
    if count:
        boxes[0, :5] = [[0, 0, 0, 0], [np.nan, 1, 20, 20], [0, 0, np.inf, 5], [50, 40, 10, 60], [500, 400, 10, 10]]
    shape = (2, count, *size, channels)
    upstream = convert(generator.uniform(-1, 1, shape).astype(np.float32), dtype)
    name = f"{dtype}, {count} boxes of {channels} channels on {len(levels)} levels to {size[0]}x{size[1]}, "
    name += f"sampling_ratio={ratio}, aligned={aligned}"

    def pool(features: dict):
        import kseg_ops

        with kseg_ops.use_reference():
            return kseg_ops.multilevel_roi_align(features, boxes, size, ratio, aligned)

    def unpool(gradient: np.ndarray) -> list[np.ndarray]:
        import tensorflow as tf

        features = {level: tf.constant(array, tf.float32) for level, array in maps.items()}
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = pool(features)
        gradients = tape.gradient(pooled, features, tf.constant(gradient))
        return [gradients[level].numpy() for level in maps]

    pixels = max(level[0, ..., 0].size for level in maps.values())
    bins = count * size[0] * size[1]
    areas = level_areas(tuple(levels), 224.0, 4)
    numbers = [ratio, aligned, *spatial_scales(levels), *areas]
    return [
        Case(
            name=f"multilevel_roi_align/{name}",
            launcher="multilevel_roi_align",
            inputs=[boxes, *values],
            outputs=[upstream],
            expected=lambda: [pool(dict(zip(maps, map(to_float, values), strict=True))).numpy()],
            tolerance=[rounding(ratio, pixels)],
            numbers=numbers,
        ),
        Case(
            name=f"multilevel_roi_align_grad/{name}",
            launcher="multilevel_roi_align_grad",
            inputs=[upstream, boxes],
            outputs=values,
            expected=lambda: unpool(to_float(upstream)),
            tolerance=[
                lambda level=level: grad_rounding(bins, unpool(np.ones(shape, np.float32))[level])
                for level in range(len(levels))
            ],
            numbers=numbers,
        ),
    ]
