"""max_unpool2d on a GPU: indices of pooling, of overlapping windows, and any others, forward and gradient."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cuda.case import FLOATS, Case
from benchmarks.cuda.device import Device, convert, to_float
from benchmarks.cuda.race import Race, off, our_milliseconds, torch_milliseconds

# values' height and width, outputs', channels, where indices point to
_SIZES = [
    ((4, 6), (8, 12), 16, "cells"),
    ((4, 5), (9, 9), 3, "cells"),
    ((3, 3), (6, 6), 24, "anywhere"),
    ((6, 7), (11, 13), 8, "near"),
    ((5, 4), (9, 8), 33, "near"),
    ((5, 6), (1, 1), 4, "anywhere"),
    ((2, 2), (40, 30), 8, "anywhere"),
    ((1, 7), (3, 2), 5, "anywhere"),
    ((5, 5), (24, 30), 16, "mixed"),
]


def cases(seed: int) -> list[Case]:
    """Every dtype, odd sizes, collisions, one image of many that is special, nothing at all."""
    generator = np.random.default_rng(seed)
    made = []
    for dtype in FLOATS:
        for inner, outer, channels, where in _SIZES:
            shape = (2, *inner, channels)
            values = generator.uniform(-1, 1, shape).astype(np.float32)
            made += _pair(generator, dtype, values, _indices(generator, shape, outer, where), outer, where)
        for shape, outer in [((0, 2, 2, 8), (4, 4)), ((2, 0, 3, 4), (3, 6)), ((2, 3, 3, 0), (6, 6))]:
            made += _pair(generator, dtype, np.zeros(shape, np.float32), np.zeros(shape, np.int32), outer, "nothing")
    return made


def _indices(generator, shape, outer, where) -> np.ndarray:
    rows, columns = (
        np.arange(count) * (2 * size + count) // (2 * count) for count, size in zip(shape[1:3], outer, strict=True)
    )
    if where == "anywhere":
        return generator.integers(0, outer[0] * outer[1], shape).astype(np.int32)
    if where == "mixed":  # the first image as pooling would have it, but for one index
        indices = _indices(generator, shape, outer, "cells")
        indices[1] = _indices(generator, shape, outer, "anywhere")[1]
        indices[0, 0, 0, 0] = outer[0] * outer[1] - 1
        return indices
    most = 3 if where == "near" else 2
    y = rows[:, None, None] + generator.integers(0, most, shape)
    x = columns[:, None] + generator.integers(0, most, shape)
    return (np.minimum(y, outer[0] - 1) * outer[1] + np.minimum(x, outer[1] - 1)).astype(np.int32)


def _pair(generator, dtype, values, indices, outer, where) -> list[Case]:
    values = convert(values, dtype)
    shape = (values.shape[0], *outer, values.shape[3])
    gradient = convert(generator.uniform(-1, 1, shape).astype(np.float32), dtype)
    what = f"{dtype}, {list(values.shape)} to {outer}, {where}"

    def forward():
        import kseg_ops

        with kseg_ops.use_reference():
            return [kseg_ops.max_unpool2d(to_float(values), indices, outer).numpy()]

    def backward():
        import tensorflow as tf

        import kseg_ops

        with kseg_ops.use_reference(), tf.GradientTape() as tape:
            y = tf.constant(to_float(values))
            tape.watch(y)
            x = kseg_ops.max_unpool2d(y, indices, outer)
        return [tf.convert_to_tensor(tape.gradient(x, y, to_float(gradient))).numpy()]

    return [
        Case(
            name=f"max_unpool2d/{what}",
            launcher="max_unpool2d",
            inputs=[values, indices],
            outputs=[gradient],
            expected=forward,
            tolerance=[0],
        ),
        Case(
            name=f"max_unpool2d_grad/{what}",
            launcher="max_unpool2d_grad",
            inputs=[gradient, indices],
            outputs=[values],
            expected=backward,
            tolerance=[0],
        ),
    ]


def races(device: Device) -> Iterator[Race]:
    """SegNet's last unpooling, to 8 images of 360 x 480 with 64 channels; and that of windows that overlap."""
    import torch

    generator = np.random.default_rng(0)
    shape, outer = (8, 180, 240, 64), (360, 480)
    for where in ("cells", "near"):
        indices = _indices(generator, shape, outer, where)
        places = torch.from_numpy(indices.astype(np.int64)).cuda().permute(0, 3, 1, 2)
        for dtype in FLOATS:
            values = convert(generator.standard_normal(shape, np.float32), dtype)
            unpooled = convert(np.zeros((8, *outer, 64), np.float32), dtype)
            y, i, x = device.array(values), device.array(indices), device.array(unpooled)
            maps = torch.from_numpy(to_float(values)).cuda().to(getattr(torch, dtype)).permute(0, 3, 1, 2)

            def forward(maps=maps, places=places):
                return torch.nn.functional.max_unpool2d(maps, places, 2, output_size=outer)

            least = values.nbytes + indices.nbytes + unpooled.nbytes
            ahead = our_milliseconds(device, "max_unpool2d", [y, i, x])
            yield Race(
                f"max unpooling {dtype} {shape}, {where}, forward",
                ahead,
                {"torch": torch_milliseconds(forward)},
                least_bytes=least,
                off=off(x.numpy(), forward()) if where == "cells" else None,  # torch leaves open which value counts
            )
            yield Race(
                f"max unpooling {dtype} {shape}, {where}, backward",
                our_milliseconds(device, "max_unpool2d_grad", [x, i, y]),
                least_bytes=least,
            )
