"""max_pool_with_indices on a GPU: windows of all kinds, forward and gradient."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cuda.case import FLOATS, Case
from benchmarks.cuda.device import Device, convert, to_float
from benchmarks.cuda.race import Race, off, our_milliseconds, torch_milliseconds

EPS = float(np.finfo(np.float32).eps)

# height and width, channels, pool, strides, padding
_WINDOWS = [
    ((6, 8), 16, (2, 2), (2, 2), "valid"),
    ((7, 5), 3, (2, 2), (2, 2), "same"),
    ((7, 9), 8, (2, 2), (2, 2), "valid"),
    ((9, 11), 5, (3, 3), (2, 2), "same"),
    ((8, 7), 24, (3, 3), (1, 1), "same"),
    ((9, 9), 4, (3, 2), (3, 4), "valid"),
    ((5, 6), 7, (2, 3), (7, 5), "same"),
    ((12, 13), 2, (5, 9), (2, 3), "valid"),
    ((3, 3), 8, (4, 4), (1, 1), "valid"),
    ((1, 1), 1, (20, 3), (1, 2), "same"),
]


def cases(seed: int) -> list[Case]:
    """Every dtype, odd sizes, ties, NaN and infinities, no images at all."""
    generator = np.random.default_rng(seed)
    made = []
    for dtype in FLOATS:
        for size, channels, pool, strides, padding in _WINDOWS:
            images = generator.integers(-3, 4, (2, *size, channels)).astype(np.float32)  # ties
            places = generator.choice(images.size, max(images.size // 20, 1), replace=False)
            images.reshape(-1)[places] = generator.choice([np.nan, np.inf, -np.inf], len(places))
            made += _pair(generator, dtype, images, pool, strides, padding)
        made += _pair(generator, dtype, np.zeros((0, 6, 6, 8), np.float32), (2, 2), (2, 2), "valid")
        made += _pair(generator, dtype, np.zeros((2, 0, 6, 8), np.float32), (2, 2), (2, 2), "same")
    return made


def grad_rounding(pool, strides) -> float:
    """Of a gradient, where those from above are within -1..1: sums over the windows that a pixel lies in."""
    most = int(np.prod([-(-size // stride) for size, stride in zip(pool, strides, strict=True)]))
    return (most - 1) * most * EPS


def _pair(generator, dtype, images, pool, strides, padding) -> list[Case]:
    values = convert(images, dtype)
    shape = pooled_shape(images.shape, pool, strides, padding)
    numbers = [*pool, *strides, padding == "same"]
    what = f"{dtype}, {list(images.shape)}, {pool} by {strides}, {padding}"

    def expected():
        import kseg_ops

        if 0 in shape:  # which the reference's gathers do not take
            return [np.zeros(shape, np.float32), np.zeros(shape, np.int32)]
        with kseg_ops.use_reference():
            pooled, indices = kseg_ops.max_pool_with_indices(to_float(values), pool, strides, padding)
        return [pooled.numpy(), indices.numpy()]

    forward = Case(
        name=f"max_pool_with_indices/{what}",
        launcher="max_pool_with_indices",
        inputs=[values],
        outputs=[convert(np.zeros(shape, np.float32), dtype), np.zeros(shape, np.int32)],
        expected=expected,
        tolerance=[0, 0],
        numbers=numbers,
    )
    gradient = convert(generator.uniform(-1, 1, shape).astype(np.float32), dtype)
    # Places of maxima and some that no pooling gives: those are lost.
    indices = generator.integers(-3, max(images.shape[1] * images.shape[2], 1), shape).astype(np.int32)
    backward = Case(
        name=f"max_pool_with_indices_grad/{what}",
        launcher="max_pool_with_indices_grad",
        inputs=[gradient, indices],
        outputs=[convert(np.zeros(images.shape, np.float32), dtype)],
        expected=lambda: [scattered(to_float(gradient), indices, images.shape, pool, strides, padding)],
        tolerance=[grad_rounding(pool, strides)],
        numbers=numbers,
    )
    return [forward, backward]


def pooled_shape(images, pool, strides, padding) -> tuple[int, ...]:
    """Of the result of pooling."""
    sizes = [
        -(-size // stride) if padding == "same" else max((size - extent) // stride + 1, 0)
        for size, extent, stride in zip(images[1:3], pool, strides, strict=True)
    ]
    return (images[0], *sizes, images[3])


def scattered(gradient, indices, shape, pool, strides, padding) -> np.ndarray:
    """The gradient by its definition: each window gives to the place it names, if that lies in it."""
    result = np.zeros(shape, np.float64)
    height, width = shape[1:3]
    rows, columns = gradient.shape[1:3]
    before = [
        max((count - 1) * stride + extent - size, 0) // 2 if padding == "same" else 0
        for count, stride, extent, size in zip((rows, columns), strides, pool, (height, width), strict=True)
    ]
    for image, row, column, channel in np.ndindex(gradient.shape):
        index = indices[image, row, column, channel]
        if index < 0:
            continue
        y, x = divmod(int(index), width)
        top, left = row * strides[0] - before[0], column * strides[1] - before[1]
        if top <= y < min(top + pool[0], height) and left <= x < left + pool[1]:
            result[image, y, x, channel] += gradient[image, row, column, channel]
    return result


def races(device: Device) -> Iterator[Race]:
    """SegNet's first pooling, of 8 images of 360 x 480 with 64 channels."""
    import torch

    shape, numbers = (8, 360, 480, 64), [2, 2, 2, 2, 0]
    pooled = (8, 180, 240, 64)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    for dtype in FLOATS:
        values = convert(images, dtype)
        x = device.array(values)
        y, indices = (
            device.empty(convert(np.zeros(pooled, np.float32), dtype)),
            device.empty(np.zeros(pooled, np.int32)),
        )
        maps = torch.from_numpy(images).cuda().to(getattr(torch, dtype)).permute(0, 3, 1, 2).requires_grad_()

        def forward(maps=maps):
            return torch.nn.functional.max_pool2d(maps, 2, return_indices=True)

        least = values.nbytes * 1.25 + indices.bytes
        ahead = our_milliseconds(device, "max_pool_with_indices", [x, y, indices], numbers)
        theirs = forward()[0]
        yield Race(
            f"max pooling with indices {dtype} {shape}, forward",
            ahead,
            {"torch": torch_milliseconds(forward)},
            least_bytes=least,
            off=off(y.numpy(), theirs),
        )
        above = torch.ones_like(theirs)

        def backward(maps=maps, theirs=theirs, above=above):
            return torch.autograd.grad(theirs, maps, above, retain_graph=True)[0]

        yield Race(
            f"max pooling with indices {dtype} {shape}, backward",
            our_milliseconds(device, "max_pool_with_indices_grad", [y, indices, x], numbers),
            {"torch": torch_milliseconds(backward)},
            least_bytes=least,
        )
