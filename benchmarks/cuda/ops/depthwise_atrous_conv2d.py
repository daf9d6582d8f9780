"""depthwise_atrous_conv2d on a GPU: filters of all kinds, forward and both gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cuda.case import FLOATS, Case
from benchmarks.cuda.device import Device, convert, to_float
from benchmarks.cuda.race import Race, off, our_milliseconds, torch_milliseconds

EPS = float(np.finfo(np.float32).eps)

# batch, height, width, channels; kernel and multiplier; rate; padding
_CONVOLUTIONS = [
    ((2, 11, 9, 8), (3, 3, 1), (2, 3), "same"),
    ((1, 7, 13, 40), (3, 3, 1), (12, 12), "same"),
    ((2, 10, 9, 12), (3, 3, 1), (1, 1), "valid"),
    ((1, 9, 17, 4), (3, 3, 1), (4, 8), "valid"),
    ((1, 8, 7, 5), (3, 3, 1), (2, 2), "same"),
    ((1, 6, 7, 8), (5, 4, 1), (1, 2), "same"),
    ((2, 6, 5, 3), (2, 3, 2), (2, 1), "same"),
    ((1, 8, 9, 4), (3, 3, 3), (2, 2), "valid"),
    ((2, 1, 1, 16), (3, 3, 1), (36, 36), "same"),
    ((1, 40, 3, 4), (3, 3, 1), (1, 1), "same"),
]
_NOTHING = [
    ((0, 5, 5, 8), (3, 3, 1), (2, 2), "same"),
    ((2, 4, 6, 8), (3, 3, 1), (2, 2), "valid"),
    ((2, 0, 6, 8), (3, 3, 1), (2, 2), "same"),
    ((2, 4, 6, 0), (3, 3, 1), (1, 1), "same"),
]


def cases(seed: int) -> list[Case]:
    """Every dtype, odd sizes, taps in the padding, depth multipliers, nothing at all."""
    generator = np.random.default_rng(seed)
    return [
        case
        for dtype in FLOATS
        for shape, kernel, rate, padding in [*_CONVOLUTIONS, *_NOTHING]
        for case in _three(generator, dtype, shape, kernel, rate, padding)
    ]


def rounding(kernel, output) -> dict[str, float]:
    """Of numbers from -1..1, by the launcher's suffix, for filters of `kernel` and a result of shape `output`.

    Their products have a variance of 1/9: sums of n stay below 4 / 3 * n**0.5, four standard deviations, and each of n
    additions rounds by at most EPS / 2 of that.
    """
    taps, multiplier = kernel[0] * kernel[1], kernel[-1]
    terms = {"": taps, "_input_grad": taps * multiplier, "_filter_grad": int(np.prod(output[:3]))}
    return {suffix: count**1.5 * EPS for suffix, count in terms.items()}


def _three(generator, dtype, shape, kernel, rate, padding) -> list[Case]:
    rows, columns, multiplier = kernel
    reach = [(rows - 1) * rate[0], (columns - 1) * rate[1]] if padding == "valid" else [0, 0]
    output = (shape[0], shape[1] - reach[0], shape[2] - reach[1], shape[3] * multiplier)
    x, filters, gradient = (
        convert(generator.uniform(-1, 1, size).astype(np.float32), dtype)
        for size in (shape, (rows, columns, shape[3], multiplier), output)
    )
    numbers = [*rate, padding == "same"]
    what = f"{dtype}, {list(shape)}, {kernel} at {rate}, {padding}"

    def gradients():
        import tensorflow as tf

        import kseg_ops

        with kseg_ops.use_reference(), tf.GradientTape() as tape:
            inputs = [tf.constant(to_float(array), tf.float64) for array in (x, filters)]
            tape.watch(inputs)
            result = kseg_ops.depthwise_atrous_conv2d(*inputs, rate, padding)
        return [result, *tape.gradient(result, inputs, tf.constant(to_float(gradient), tf.float64))]

    def expected(which):
        return lambda: [gradients()[which].numpy()]

    made = []
    for which, suffix, inputs, result in [
        (0, "", [x, filters], gradient),
        (1, "_input_grad", [gradient, filters], x),
        (2, "_filter_grad", [x, gradient], filters),
    ]:
        made.append(
            Case(
                name=f"depthwise_atrous_conv2d{suffix}/{what}",
                launcher=f"depthwise_atrous_conv2d{suffix}",
                inputs=inputs,
                outputs=[result],
                expected=expected(which),
                tolerance=[rounding(kernel, output)[suffix]],
                numbers=numbers,
            )
        )
    return made


def races(device: Device) -> Iterator[Race]:
    """16 maps of 64 x 64: 2048 channels at rate 12, as in DeepLabv3+, and 728 at rate 2, as in Xception."""
    import torch

    generator = np.random.default_rng(0)
    for shape, rate in [((16, 64, 64, 2048), 12), ((16, 64, 64, 728), 2)]:
        images = generator.standard_normal(shape, np.float32)
        weights = generator.standard_normal((3, 3, shape[3], 1), np.float32)
        for dtype in FLOATS:
            kind = getattr(torch, dtype)
            values, filters = convert(images, dtype), convert(weights, dtype)
            x, w, y = device.array(values), device.array(filters), device.empty(values)
            maps = torch.from_numpy(images).cuda().to(kind).permute(0, 3, 1, 2).requires_grad_()
            taps = torch.from_numpy(weights.transpose(2, 3, 0, 1).copy()).cuda().to(kind).requires_grad_()

            def forward(maps=maps, taps=taps, rate=rate):
                return torch.nn.functional.conv2d(maps, taps, None, 1, rate, rate, maps.shape[1])

            ahead = our_milliseconds(device, "depthwise_atrous_conv2d", [x, w, y], [rate, rate, 1])
            theirs = forward()
            yield Race(
                f"depthwise {dtype} {shape} rate {rate}, forward",
                ahead,
                {"torch": torch_milliseconds(forward)},
                least_bytes=2 * values.nbytes,
                off=off(y.numpy(), theirs),
            )
            above = torch.ones_like(theirs)
            for suffix, arrays, of in [("_input_grad", [y, w, x], maps), ("_filter_grad", [x, y, w], taps)]:

                def backward(of=of, theirs=theirs, above=above):
                    return torch.autograd.grad(theirs, of, above, retain_graph=True)[0]

                yield Race(
                    f"depthwise {dtype} {shape} rate {rate}, {suffix[1:]}",
                    our_milliseconds(device, f"depthwise_atrous_conv2d{suffix}", arrays, [rate, rate, 1]),
                    {"torch": torch_milliseconds(backward)},
                    least_bytes=2 * values.nbytes,
                )
