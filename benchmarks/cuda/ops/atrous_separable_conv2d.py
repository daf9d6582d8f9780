"""atrous_separable_conv2d on a GPU: filters of all kinds, in whole numbers, which are exact, and in any."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cuda.case import FLOATS, Case
from benchmarks.cuda.convolution import convolve, depthwise, output_size
from benchmarks.cuda.device import Device, convert, to_float
from benchmarks.cuda.race import Race, off, our_milliseconds, torch_milliseconds

EPS = float(np.finfo(np.float32).eps)
ACTIVATIONS = ("linear", "relu", "relu6", "hard_sigmoid", "hard_silu")
# Half a step of what lies between the convolutions on tensor cores, relative.
_MIDDLE = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}

# batch, height, width, channels; kernel and multiplier; filters; rate; padding; activations; affine maps; whole numbers
_CONVOLUTIONS = [
    ((2, 16, 13, 40), (3, 3, 1), 72, (3, 2), "same", (1, 1), True, True),
    ((1, 13, 12, 48), (3, 3, 1), 300, (6, 6), "same", (0, 0), False, True),
    ((1, 6, 7, 24), (3, 3, 1), 8, (1, 1), "valid", (2, 0), True, True),
    ((1, 5, 6, 8), (3, 3, 1), 5, (12, 2), "same", (3, 4), True, False),
    ((2, 5, 4, 16), (3, 3, 1), 66, (2, 2), "same", (4, 3), True, False),
    ((1, 6, 5, 5), (3, 3, 1), 7, (2, 1), "same", (1, 0), True, True),
    ((1, 7, 5, 3), (2, 3, 4), 9, (2, 1), "valid", (0, 1), False, True),
    ((1, 1, 1, 8), (3, 3, 1), 16, (36, 36), "same", (1, 2), True, False),
    ((1, 7, 6, 19), (5, 1, 1), 130, (1, 1), "same", (0, 0), True, True),
]
_NOTHING = [
    ((0, 5, 5, 8), (3, 3, 1), 8, (2, 2), "same", (1, 1), True, True),
    ((2, 4, 6, 8), (3, 3, 1), 8, (2, 2), "valid", (1, 1), True, True),
    ((2, 4, 6, 8), (3, 3, 1), 0, (2, 2), "same", (1, 1), True, True),
]


def cases(seed: int) -> list[Case]:
    """Every dtype, odd sizes, taps in the padding, depth multipliers, every activation, nothing at all."""
    generator = np.random.default_rng(seed)
    return [_case(generator, dtype, *what) for dtype in FLOATS for what in [*_CONVOLUTIONS, *_NOTHING]]


def rounding(dtype, x, filters, pointwise, maps, rate, padding) -> np.ndarray:
    """Of a result, relative to the sum of magnitudes: one of what lies between the convolutions, one per product and
    sum, and activations whose slope is below 2 each (hard_silu's is at most 1.5).
    """
    scales = [np.abs(array) for array in maps]
    sums = convolve(np.abs(x), np.abs(filters), rate, padding, depthwise) * scales[0] + scales[1]
    magnitude = sums @ np.abs(pointwise[0, 0]) * scales[2] + scales[3]
    products = filters.shape[0] * filters.shape[1] + pointwise.shape[2] + 8
    return 4 * (_MIDDLE[dtype] + products * EPS) * magnitude


def _case(generator, dtype, shape, kernel, columns, rate, padding, activations, affine, whole) -> Case:
    rows, across, multiplier = kernel
    middle = shape[3] * multiplier
    output = (shape[0], *output_size(shape, (rows, across), rate, padding), columns)

    def numbers(size, most):
        if whole:
            return generator.integers(-most, most + 1, size).astype(np.float32)
        return generator.uniform(-1, 1, size).astype(np.float32)

    x, filters, pointwise = (
        convert(numbers(size, most), dtype)
        for size, most in [(shape, 2), ((rows, across, shape[3], multiplier), 1), ((1, 1, middle, columns), 2)]
    )
    maps = [
        generator.choice([0.5, 1, 2], middle).astype(np.float32),
        numbers(middle, 3),
        generator.choice([-0.5, 1, 2], columns).astype(np.float32),
        numbers(columns, 3),
    ]
    if not affine:
        maps = [np.zeros(0, np.float32)] * 4
    wide = [to_float(array) for array in (x, filters, pointwise)]

    def expected():
        import tensorflow as tf

        from kseg_ops.reference.atrous_separable_conv2d import atrous_separable_conv2d

        first, last = (ACTIVATIONS[name] for name in activations)
        arrays = [tf.constant(array, tf.float64) for array in wide]
        maps64 = [tf.constant(array, tf.float64) if affine else None for array in maps]
        return [atrous_separable_conv2d(*arrays, rate, *maps64[:2], first, *maps64[2:], last, padding).numpy()]

    # Whole numbers and halves are exact, also where what lies between is rounded to 8 bits.
    tolerance = 0.0 if whole else rounding(dtype, *wide, maps, rate, padding)
    return Case(
        name=f"atrous_separable_conv2d/{dtype}, {list(shape)}, {kernel} at {rate}, {padding}, {columns} filters",
        launcher="atrous_separable_conv2d",
        inputs=[x, filters, pointwise, *maps],
        outputs=[convert(np.zeros(output, np.float32), dtype)],
        expected=expected,
        tolerance=[tolerance],
        numbers=[*rate, padding == "same", *activations],
    )


def races(device: Device) -> Iterator[Race]:
    """DeepLabv3+: 16 maps of 64 x 64, 2048 channels to 256 at rate 12; against torch's two convolutions."""
    import torch

    generator = np.random.default_rng(0)
    shape, columns, rate = (16, 64, 64, 2048), 256, 12
    images = generator.standard_normal(shape, np.float32)
    weights = generator.standard_normal((3, 3, shape[3], 1), np.float32)
    mixing = generator.standard_normal((1, 1, shape[3], columns), np.float32) / 45
    none = np.zeros(0, np.float32)
    for dtype, bar in [("bfloat16", {"torch": 2.0}), ("float16", {"torch": 2.0}), ("float32", {})]:
        kind = getattr(torch, dtype)
        arrays = [convert(array, dtype) for array in (images, weights, mixing)]
        result = convert(np.zeros((*shape[:3], columns), np.float32), dtype)
        on_device = [device.array(array) for array in [*arrays, none, none, none, none]]
        y = device.empty(result)
        maps = torch.from_numpy(images).cuda().to(kind).permute(0, 3, 1, 2)
        taps = torch.from_numpy(weights.transpose(2, 3, 0, 1).copy()).cuda().to(kind)
        mix = torch.from_numpy(mixing.transpose(3, 2, 0, 1).copy()).cuda().to(kind)

        def both(maps=maps, taps=taps, mix=mix):
            middle = torch.nn.functional.conv2d(maps, taps, None, 1, rate, rate, shape[3])
            return torch.nn.functional.conv2d(middle, mix)

        ours = our_milliseconds(device, "atrous_separable_conv2d", [*on_device, y], [rate, rate, 1, 0, 0])
        with torch.inference_mode():
            yield Race(
                f"atrous separable {dtype} {shape} to {columns} rate {rate}",
                ours,
                {"torch": torch_milliseconds(both)},
                bar,
                least_bytes=arrays[0].nbytes + result.nbytes,
                off=off(y.numpy(), both()),
            )
