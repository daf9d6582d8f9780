"""atrous_conv2d on a GPU: filters of all kinds, in whole numbers, which are exact, and in any."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cuda.case import FLOATS, Case
from benchmarks.cuda.convolution import convolve, output_size
from benchmarks.cuda.device import Device, convert, to_float
from benchmarks.cuda.race import Race, off, our_milliseconds, torch_milliseconds

EPS = float(np.finfo(np.float32).eps)
ACTIVATIONS = ("linear", "relu", "relu6", "hard_sigmoid", "hard_silu")

# batch, height, width, channels; kernel; filters; rate; padding; activation; affine map; whole numbers
_CONVOLUTIONS = [
    ((2, 11, 13, 40), (3, 3), 72, (2, 3), "same", 1, True, True),
    ((1, 20, 9, 16), (3, 3), 136, (8, 8), "same", 0, False, True),
    ((1, 14, 12, 8), (3, 3), 8, (2, 1), "valid", 2, True, True),
    ((1, 7, 6, 3), (3, 3), 16, (2, 2), "same", 3, True, False),
    ((2, 6, 5, 24), (3, 2), 5, (1, 2), "same", 4, True, False),
    ((1, 2, 300, 8), (3, 3), 160, (1, 160), "same", 0, False, True),
    ((1, 1, 1, 16), (3, 3), 24, (36, 36), "same", 1, True, False),
    ((1, 5, 6, 33), (1, 1), 33, (1, 1), "valid", 2, True, False),
    ((3, 3, 4, 8), (4, 5), 8, (2, 1), "same", 1, False, True),
]
_NOTHING = [
    ((0, 5, 5, 8), (3, 3), 8, (2, 2), "same", 1, True, True),
    ((2, 4, 6, 8), (3, 3), 8, (2, 2), "valid", 1, True, True),
    ((2, 4, 0, 8), (3, 3), 8, (2, 2), "same", 1, True, True),
]


def cases(seed: int) -> list[Case]:
    """Every dtype, odd sizes, taps in the padding, every activation, nothing at all."""
    generator = np.random.default_rng(seed)
    return [_case(generator, dtype, *what) for dtype in FLOATS for what in [*_CONVOLUTIONS, *_NOTHING]]


def rounding(x, filters, scale, offset, rate, padding) -> np.ndarray:
    """Of a result: one per product and sum of up to the sum of magnitudes, and an activation of a slope below 2."""
    terms = filters.shape[0] * filters.shape[1] * filters.shape[2] + 4
    sums = convolve(np.abs(x), np.abs(filters), rate, padding, np.matmul)
    return 2 * terms * EPS * (sums * np.abs(scale) + np.abs(offset))


def _case(generator, dtype, shape, kernel, columns, rate, padding, activation, affine, whole) -> Case:
    output = (shape[0], *output_size(shape, kernel, rate, padding), columns)

    def numbers(size):
        if whole:
            return generator.integers(-2, 3, size).astype(np.float32)
        return generator.uniform(-1, 1, size).astype(np.float32)

    x, filters = (convert(numbers(size), dtype) for size in (shape, (*kernel, shape[3], columns)))
    scale, offset = generator.choice([0.5, 1, -2], columns).astype(np.float32), numbers(columns)
    if not affine:
        scale = offset = np.zeros(0, np.float32)
    wide = [to_float(x), to_float(filters)]

    def expected():
        import tensorflow as tf

        from kseg_ops.reference.atrous_conv2d import atrous_conv2d

        if 0 in output:
            return [np.zeros(output)]
        arrays = [tf.constant(array, tf.float64) for array in wide]
        maps = [tf.constant(array) if affine else None for array in (scale, offset)]
        return [atrous_conv2d(*arrays, rate, *maps, ACTIVATIONS[activation], padding).numpy()]

    tolerance = 0.0 if whole else rounding(*wide, scale, offset, rate, padding)  # whole numbers are exact
    return Case(
        name=f"atrous_conv2d/{dtype}, {list(shape)}, {kernel} at {rate}, {padding}, {columns} filters",
        launcher="atrous_conv2d",
        inputs=[x, filters, scale, offset],
        outputs=[convert(np.zeros(output, np.float32), dtype)],
        expected=expected,
        tolerance=[tolerance],
        numbers=[*rate, padding == "same", activation],
    )


def races(device: Device) -> Iterator[Race]:
    """DeepLabv3: maps of 64 x 64, 2048 channels to 256 at rates 12 and 36; against cuDNN through torch."""
    import torch

    generator = np.random.default_rng(0)
    columns = 256
    for dtype, batch in [("bfloat16", 16), ("float16", 16), ("float32", 2)]:
        shape = (batch, 64, 64, 2048)
        kind = getattr(torch, dtype)
        images = generator.standard_normal(shape, np.float32)
        weights = generator.standard_normal((3, 3, shape[3], columns), np.float32) / 136
        none = np.zeros(0, np.float32)
        result = convert(np.zeros((*shape[:3], columns), np.float32), dtype)
        on_device = [device.array(array) for array in (convert(images, dtype), convert(weights, dtype), none, none)]
        y = device.empty(result)
        maps = torch.from_numpy(images).cuda().to(kind).permute(0, 3, 1, 2)
        taps = torch.from_numpy(weights.transpose(3, 2, 0, 1).copy()).cuda().to(kind)
        taps = taps.contiguous(memory_format=torch.channels_last)
        for rate in (12, 36):

            def convolution(maps=maps, taps=taps, rate=rate):
                return torch.nn.functional.conv2d(maps, taps, None, 1, rate, rate)

            ours = our_milliseconds(device, "atrous_conv2d", [*on_device, y], [rate, rate, 1, 0])
            with torch.inference_mode():
                yield Race(
                    f"atrous convolution {dtype} {shape} to {columns} rate {rate}",
                    ours,
                    {"torch": torch_milliseconds(convolution)},
                    off=off(y.numpy(), convolution()),
                )
