"""roi_align on a GPU: cases of all kinds of boxes, and the race against torchvision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.boxes import random_boxes
from benchmarks.cuda.case import FLOATS, Case
from benchmarks.cuda.device import Device, convert, to_float
from benchmarks.cuda.race import Race, our_milliseconds, torch_milliseconds

EPS = float(np.finfo(np.float32).eps)


def cases(seed: int) -> list[Case]:
    """Every dtype, odd sizes, fixed and adaptive sampling, boxes outside, no boxes at all; forward and backward."""
    generator = np.random.default_rng(seed)
    made = []
    for dtype in FLOATS:
        for channels, size, ratio, aligned in [
            (3, (3, 2), 2, True),
            (8, (7, 7), 2, False),
            (40, (2, 18), 1, True),
            (33, (7, 5), 0, True),
            (16, (1, 1), 0, False),
            (4, (2, 3), 40, True),
        ]:
            inputs = _inputs(generator, channels)
            made += _both(f"{channels} channels", dtype, *inputs, size, ratio, aligned)
        features, boxes, indices = _inputs(generator, 5)
        made += _both("no boxes", dtype, features, boxes[:0], indices[:0], (7, 7), 2, True)
        made += _both("one pixel", dtype, features[:, :1, :1], boxes, indices, (2, 2), 0, True)
    return made


def _inputs(generator: np.random.Generator, channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    height, width, count = 11, 14, 20
    features = generator.uniform(-1, 1, (2, height, width, channels)).astype(np.float32)
    corners = generator.uniform(-6, 24, (count, 2))
    sizes = np.exp(generator.uniform(np.log(0.2), np.log(40), (count, 2)))
    boxes = np.concatenate([corners, corners + sizes], 1).astype(np.float32)
    boxes[:8] = [
        [-100, -100, 200, 200],
        [300, 300, 310, 310],  # outside
        [4, 4, 4, 9],  # empty
        [9, 8, 3, 2],  # inverted
        [0, 0, width, height],
        [np.nan, 1, 5, 5],
        [0, 0, np.inf, 5],
        [-1e30, 2, 1e30, 6],
    ]
    return features, boxes, generator.integers(0, 2, count).astype(np.int32)


def rounding(ratio, pixels) -> float:
    """Of a bin of features within -1..1: of the products of all samples, or of all pixels where those are fewer."""
    products = 2 * min((2 * ratio) ** 2 if ratio else np.inf, pixels) + 8
    return products * EPS


def grad_rounding(bins, unit_gradient) -> np.ndarray:
    """Of a gradient where those from above are within -1..1, from the one where all of those are 1.

    A sum of n terms is off by n roundings of the sum of magnitudes; `bins` is how many there are of all boxes.
    """
    return (bins + 8) * EPS * unit_gradient


def _both(what, dtype, features, boxes, indices, size, ratio, aligned) -> list[Case]:
    """The forward and the backward pass."""
    values = convert(features, dtype)
    shape = (len(boxes), *size, features.shape[3])
    upstream = convert(np.random.default_rng(len(boxes)).uniform(-1, 1, shape).astype(np.float32), dtype)
    name = f"{dtype}, {what} to {size[0]}x{size[1]}, sampling_ratio={ratio}, aligned={aligned}"

    def pool(maps: np.ndarray):
        import kseg_ops

        with kseg_ops.use_reference():
            return kseg_ops.roi_align(maps, boxes, indices, size, 0.7, ratio, aligned)

    def unpool(gradient: np.ndarray) -> np.ndarray:
        import tensorflow as tf

        maps = tf.constant(features)
        with tf.GradientTape() as tape:
            tape.watch(maps)
            pooled = pool(maps)
        return tape.gradient(pooled, maps, tf.constant(gradient)).numpy()

    bins = len(boxes) * size[0] * size[1]
    numbers = [0.7, ratio, aligned]
    return [
        Case(
            name=f"roi_align/{name}",
            launcher="roi_align",
            inputs=[values, boxes, indices],
            outputs=[upstream],
            expected=lambda: [pool(to_float(values)).numpy()],
            tolerance=[rounding(ratio, features.shape[1] * features.shape[2])],
            numbers=numbers,
        ),
        Case(
            name=f"roi_align_grad/{name}",
            launcher="roi_align_grad",
            inputs=[upstream, boxes, indices],
            outputs=[values],
            expected=lambda: [unpool(to_float(upstream))],
            tolerance=[lambda: grad_rounding(bins, unpool(np.ones(shape, np.float32)))],
            numbers=numbers,
        ),
    ]


def races(device: Device) -> Iterator[Race]:
    """1000 boxes of 7 x 7 bins on a batch of two of the finest maps of an image of 800 x 1216."""
    import torch
    import torchvision

    generator = np.random.default_rng(0)
    shape, scale, count, bins = (2, 200, 304, 256), 0.25, 1000, 7
    features = generator.standard_normal(shape, np.float32)
    boxes = random_boxes(count, shape[1] / scale, shape[2] / scale)
    indices = np.arange(count, dtype=np.int32) % 2
    upstream = generator.standard_normal((count, bins, bins, shape[3]), np.float32)
    numbers = [scale, 2, 0]
    rows = torch.from_numpy(np.concatenate([indices[:, None].astype(np.float32), boxes], 1)).cuda()
    for dtype in FLOATS:
        values, gradient = convert(features, dtype), convert(upstream, dtype)
        kind = getattr(torch, dtype)
        # torchvision has no kernel for bfloat16: there its float32 is the peer.
        peer = torch.float32 if dtype == "bfloat16" else kind
        maps = torch.from_numpy(np.ascontiguousarray(features.transpose(0, 3, 1, 2))).cuda().to(peer).requires_grad_()
        above = torch.from_numpy(np.ascontiguousarray(upstream.transpose(0, 3, 1, 2))).cuda().to(peer)
        corners = rows.to(peer)

        def forward(maps=maps, corners=corners):
            return torchvision.ops.roi_align(maps, corners, bins, scale, 2, False)

        def both(maps=maps, above=above, forward=forward):
            return torch.autograd.grad(forward(), maps, above)[0]

        pooled, spread = device.empty(gradient), device.empty(values)
        inputs = [device.array(array) for array in (values, boxes, indices, gradient)]
        ahead = our_milliseconds(device, "roi_align", [*inputs[:3], pooled], numbers)
        back = our_milliseconds(device, "roi_align_grad", [inputs[3], *inputs[1:3], spread], numbers)
        theirs, name = forward(), f"torchvision {str(peer).removeprefix('torch.')}"
        what = f"RoIAlign {dtype} {count} -> {bins}x{bins} on {'x'.join(map(str, shape))}"
        yield Race(
            f"{what}, forward",
            ahead,
            {name: torch_milliseconds(forward)},
            {name: 2.0},
            off=_off(to_float(pooled.numpy()), theirs.detach().float().permute(0, 2, 3, 1).cpu().numpy()),
        )
        yield Race(
            f"{what}, forward and backward",
            ahead + back,
            {name: torch_milliseconds(both)},
            {name: 3.0},
            off=_off(to_float(spread.numpy()), both().float().permute(0, 2, 3, 1).cpu().numpy()),
        )


def _off(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
