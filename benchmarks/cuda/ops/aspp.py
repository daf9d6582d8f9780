"""aspp on a GPU: dense and separable branches, in whole numbers, which are exact, and in any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.cuda.case import FLOATS, Case
from benchmarks.cuda.convolution import convolve, depthwise
from benchmarks.cuda.device import Device, convert, to_float
from benchmarks.cuda.race import Race, off, our_milliseconds, torch_milliseconds

EPS = float(np.finfo(np.float32).eps)
ACTIVATIONS = ("linear", "relu", "relu6", "hard_sigmoid", "hard_silu")
LINEAR, RELU, RELU6, HARD_SIGMOID, HARD_SILU = range(5)
# Half a step of what lies between convolutions, relative to the number, and half of the smallest step.
_STEP = {"float32": (0.0, 0.0), "float16": (2.0**-11, 2.0**-25), "bfloat16": (2.0**-8, 2.0**-134)}


@dataclass(frozen=True)
class Layer:
    """One convolution: its filters, `[kh, kw, C, F]` or of a depthwise one `[kh, kw, C, 1]`, and what follows."""

    filters: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    activation: int
    rate: tuple[int, int] = (1, 1)

    @property
    def arrays(self) -> list[np.ndarray]:
        return [self.filters, self.scale, self.offset]


@dataclass(frozen=True)
class Block:
    """The layers of each branch, one, or a depthwise and a pointwise one; of the pooled branch; and the projection."""

    branches: list[list[Layer]]
    pooling: list[Layer]
    projection: Layer

    @property
    def arrays(self) -> list[np.ndarray]:
        """In the launcher's order."""
        layers = [layer for branch in self.branches for layer in reversed(branch)]
        return [array for layer in [*layers, *self.pooling, self.projection] for array in layer.arrays]

    @property
    def numbers(self) -> list[int]:
        """In the launcher's order."""
        numbers = [len(self.branches)]
        for branch in self.branches:
            numbers += [branch[-1].activation, *branch[0].rate, len(branch) == 2]
            numbers += [layer.activation for layer in branch[:-1]]
        pooling = [layer.activation for layer in self.pooling]
        return [*numbers, len(pooling), *pooling, self.projection.activation]


# map; of each branch filters, kernel (negative: separable), rate, activation; pooled filters and activation, or none;
# filters and activation of the projection; whole numbers
_BLOCKS = [
    (
        (2, 16, 8, 16),
        [(24, 1, (1, 1), RELU6), (40, 3, (6, 6), RELU6), (16, -3, (3, 3), RELU6)],
        (8, RELU6),
        (72, LINEAR),
        True,
    ),
    ((3, 4, 4, 8), [(136, 3, (2, 3), RELU6)], None, (8, RELU), True),
    ((5, 2, 4, 3), [(5, -3, (2, 1), RELU6), (4, 3, (2, 2), RELU6)], (7, RELU), (3, RELU6), True),
    ((2, 9, 7, 24), [(8, 1, (1, 1), RELU), (9, -3, (2, 3), HARD_SILU)], (6, HARD_SILU), (20, HARD_SIGMOID), False),
    ((1, 11, 7, 5), [(6, 3, (36, 36), HARD_SIGMOID), (6, -2, (2, 2), RELU6)], (40, LINEAR), (33, HARD_SILU), False),
    ((70, 1, 1, 8), [(8, 1, (1, 1), LINEAR)], (3, RELU), (8, RELU), False),
    ((2, 37, 9, 300), [(3, 1, (1, 1), RELU)], (33, RELU), (5, LINEAR), False),
    ((1, 131, 65, 2), [(1, 1, (1, 1), RELU)], (1, LINEAR), (2, LINEAR), False),
]
_NOTHING = [
    ((0, 5, 5, 8), [(8, 3, (2, 2), RELU)], (8, RELU), (8, RELU), True),
    ((2, 0, 5, 8), [(8, -3, (2, 2), RELU)], (8, RELU), (8, RELU), True),
]


def cases(seed: int) -> list[Case]:
    """Every dtype, odd sizes, taps in the padding, every activation, many images, many pixels, nothing at all."""
    generator = np.random.default_rng(seed)
    return [_case(generator, dtype, *what) for dtype in FLOATS for what in [*_BLOCKS, *_NOTHING]]


def make_block(numbers: Callable, dtype: str, channels: int, branches, pooling, projection) -> Block:
    """`numbers(kind, shape, fan_in)` makes float32 numbers of the kinds "filters", "scale" and "offset"."""

    def layer(filters: int, kernel: int, inputs: int, activation: int, rate=(1, 1), one_each=False) -> Layer:
        shape = (kernel, kernel, inputs, 1 if one_each else filters)
        weights = convert(numbers("filters", shape, kernel**2 * (1 if one_each else inputs)), dtype)
        return Layer(weights, numbers("scale", (filters,), 1), numbers("offset", (filters,), 1), activation, rate)

    made = []
    for filters, kernel, rate, activation in branches:
        if kernel > 0:
            made.append([layer(filters, kernel, channels, activation, rate)])
        else:
            first = layer(channels, -kernel, channels, activation, rate, one_each=True)
            made.append([first, layer(filters, 1, channels, activation)])
    total = sum(filters for filters, *_ in branches)
    pooled = []
    if pooling:
        pooled, total = [layer(pooling[0], 1, channels, pooling[1])], total + pooling[0]
    return Block(made, pooled, layer(projection[0], 1, total, projection[1]))


def _case(generator, dtype, shape, branches, pooling, projection, whole) -> Case:
    def numbers(kind, size, fan_in):
        if not whole:
            values = generator.uniform(-1, 1, size) * np.sqrt(3 / fan_in)
        elif kind == "scale":
            values = generator.choice([-1, 1, 2], size)
        else:
            values = generator.integers(-2, 3, size)
        return values.astype(np.float32)

    block = make_block(numbers, dtype, shape[3], branches, pooling, projection)
    x = convert(numbers("offset", shape, 1), dtype)
    output = (*shape[:3], projection[0])
    return Case(
        name=f"aspp/{dtype}, {list(shape)}, {branches}, pooled {pooling}, {projection}",
        launcher="aspp",
        inputs=[x, *block.arrays],
        outputs=[convert(np.zeros(output, np.float32), dtype)],
        expected=lambda: [_reference(x, block) if 0 not in output else np.zeros(output)],
        # Whole numbers are exact: activations keep what is rounded to 8 bits at 6 at most, pixels of an image and
        # so the mean are powers of two.
        tolerance=[0.0 if whole or 0 in output else rounding(to_float(x), block, dtype)],
        numbers=block.numbers,
    )


def _reference(x: np.ndarray, block: Block) -> np.ndarray:
    import tensorflow as tf

    from kseg_ops.aspp_branch import AsppBranch
    from kseg_ops.reference.aspp import aspp

    def wide(layer: Layer):
        return [tf.constant(to_float(array), tf.float64) for array in layer.arrays] + [ACTIVATIONS[layer.activation]]

    branches = [
        AsppBranch(*wide(branch[-1]), branch[0].rate, *(part for layer in branch[:-1] for part in wide(layer)))
        for branch in block.branches
    ]
    pooling = [AsppBranch(*wide(layer), (1, 1)) for layer in block.pooling]
    projection = AsppBranch(*wide(block.projection), (1, 1))
    return aspp(tf.constant(to_float(x), tf.float64), branches, projection, *(pooling or [None])).numpy()


def rounding(x: np.ndarray, block: Block, dtype: str) -> np.ndarray:
    """How far a result may be off: magnitudes and errors go through the layers side by side."""
    relative, absolute = _STEP[dtype]
    values, none = np.abs(np.asarray(x, np.float64)), np.zeros(x.shape)

    def through(values, errors, layer: Layer, product, rounded: bool):
        """Bounds of a layer's results and errors, given those of its inputs."""
        filters, scale, offset = (np.abs(to_float(array).astype(np.float64)) for array in layer.arrays)
        terms = filters.size // filters.shape[3] if product is np.matmul else filters.shape[0] * filters.shape[1]
        sums = convolve(values, filters, layer.rate, "same", product) * scale + offset
        carried = convolve(errors, filters, layer.rate, "same", product) * scale
        # A rounding per product and per sum, one each of scale and offset, some of the activation, whose slope is 1.5
        # at most and whose results are no larger than what goes in, or than 1.
        error = 1.5 * (carried + (terms + 8) * EPS * sums)
        sums = np.maximum(sums, 1.0)
        return sums, error + (relative * (sums + error) + absolute if rounded else 0.0)

    parts = []
    for branch in block.branches:
        part = values, none
        for layer in branch[:-1]:
            part = through(*part, layer, depthwise, True)
        parts.append(through(*part, branch[-1], np.matmul, True))
    for layer in block.pooling:
        mean = values.mean((1, 2), keepdims=True)
        pooled = through(mean, mean * EPS * (x.shape[1] * x.shape[2] + 2), layer, np.matmul, False)
        parts.append([np.broadcast_to(part, (*x.shape[:3], part.shape[3])) for part in pooled])
    joined = [np.concatenate(part, -1) for part in zip(*parts, strict=True)]
    return through(*joined, block.projection, np.matmul, False)[1]


def races(device: Device) -> Iterator[Race]:
    """The blocks of DeepLabv3 and DeepLabv3+ on maps of 64 x 64 x 2048; against cuDNN through torch."""
    import torch

    generator = np.random.default_rng(0)

    def numbers(kind, size, fan_in):
        if kind == "scale":
            return np.ones(size, np.float32)
        return generator.standard_normal(size, np.float32) / np.float32(np.sqrt(fan_in))

    rates, columns = (12, 24, 36), 256
    for dtype, batch in [("bfloat16", 16), ("bfloat16", 1), ("float16", 16), ("float32", 2)]:
        shape = (batch, 64, 64, 2048)
        images = generator.standard_normal(shape, np.float32)
        x, result = device.array(convert(images, dtype)), convert(np.zeros((*shape[:3], columns), np.float32), dtype)
        maps = torch.from_numpy(images).cuda().to(getattr(torch, dtype)).permute(0, 3, 1, 2)
        for kernel, what in ((3, "dense"), (-3, "separable")):
            branches = [(columns, 1, (1, 1), RELU)] + [(columns, kernel, (rate, rate), RELU) for rate in rates]
            block = make_block(numbers, dtype, shape[3], branches, (columns, RELU), (columns, RELU))
            y = device.empty(result)
            arrays = [x, *(device.array(array) for array in block.arrays), y]
            ours = our_milliseconds(device, "aspp", arrays, block.numbers)
            theirs = _torch_block(block, dtype)
            with torch.inference_mode():
                yield Race(
                    f"aspp {what} {dtype} {shape} to {columns}, rates {rates}",
                    ours,
                    {"torch": torch_milliseconds(lambda theirs=theirs, maps=maps: theirs(maps))},
                    off=off(y.numpy(), theirs(maps)),
                )


def _torch_block(block: Block, dtype: str) -> Callable:
    """The block as torch would have it: scales of ones left out, offsets as biases, ReLU everywhere."""
    import torch
    from torch.nn import functional

    def layer(layer: Layer) -> Callable:
        weights = torch.from_numpy(to_float(layer.filters)).cuda().to(getattr(torch, dtype))
        one_each = weights.shape[3] == 1
        weights = weights.permute((2, 3, 0, 1) if one_each else (3, 2, 0, 1))
        weights = weights.contiguous(memory_format=torch.channels_last)
        bias = torch.from_numpy(layer.offset).cuda().to(weights.dtype)
        padding = tuple(rate * (size // 2) for rate, size in zip(layer.rate, weights.shape[2:], strict=True))
        groups = weights.shape[0] if one_each else 1
        return lambda x: functional.conv2d(x, weights, bias, 1, padding, layer.rate, groups).relu_()

    branches = [[layer(part) for part in branch] for branch in block.branches]
    pooling, projection = [layer(part) for part in block.pooling], layer(block.projection)

    def run(x):
        parts = []
        for branch in branches:
            part = x
            for convolution in branch:
                part = convolution(part)
            parts.append(part)
        for convolution in pooling:
            parts.append(convolution(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:]))
        return projection(torch.cat(parts, 1))

    return run
