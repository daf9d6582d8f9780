"""resize_argmax on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cuda.case import FLOATS, Case
from benchmarks.cuda.device import Device, convert, to_float
from benchmarks.cuda.race import Race, our_milliseconds, torch_milliseconds


def cases(seed: int) -> list[Case]:
    """Every dtype; up, down and at one size; smooth logits and rough ones, equal classes, NaN and infinities."""
    generator = np.random.default_rng(seed)
    made = []
    for dtype in FLOATS:
        for what, source, size, channels, aligned in [
            ("4x", (5, 6), (20, 24), 7, False),
            ("uneven", (3, 5), (14, 13), 150, False),
            ("smaller", (9, 8), (5, 3), 5, False),
            ("corners aligned", (3, 4), (9, 13), 33, True),
        ]:
            made.append(_case(what, dtype, _logits(generator, source, channels), size, aligned))
    rough = np.zeros((2, 6, 9, 6), np.float32)  # beside 1e30 other numbers would decide how ties are rounded
    rough[:, 2:4, 3:6] = np.array([np.nan, -np.inf, np.inf, np.inf, 0, 1e35], np.float32)
    rough[:, 0] = np.nan
    made += [
        _case("NaN and infinities", "float32", rough, (24, 36), False),
        _case("equal classes", "float32", np.repeat(np.round(_logits(generator, (7, 5), 4)), 2, -1), (28, 20), False),
        _case("one class", "float32", rough[..., :1], (5, 5), False),
        _case("one size", "float32", rough, (6, 9), False),
        _case("one pixel", "float32", rough[:, :1, 4:5], (3, 4), True),
        _case("tall", "float32", _logits(generator, (2, 3), 3), (300, 7), False),
        _case("no images", "float32", rough[:0], (3, 4), False),
        _case(
            "one class everywhere",
            "float32",
            np.zeros_like(rough) + np.arange(6, dtype=np.float32) ** 2,
            (13, 20),
            False,
        ),
    ]
    return made


def _logits(generator: np.random.Generator, source: tuple[int, int], channels: int) -> np.ndarray:
    return (3 * generator.standard_normal((2, *source, channels))).astype(np.float32)


def _case(what: str, dtype: str, logits: np.ndarray, size: tuple[int, int], aligned: bool) -> Case:
    values = convert(logits, dtype)

    def expected():
        import kseg_ops

        with kseg_ops.use_reference():
            return [kseg_ops.resize_argmax(to_float(values), size, aligned).numpy()]

    return Case(
        name=f"resize_argmax/{dtype}, {what}, {logits.shape[-1]} classes",
        launcher="resize_argmax",
        inputs=[values],
        outputs=[np.zeros((logits.shape[0], *size), np.int32)],
        expected=expected,
        tolerance=[0],
        numbers=[aligned],
    )


def races(device: Device) -> Iterator[Race]:
    """150 classes at a quarter of the size, batch 8: of smooth logits, as a network gives them, and of noise."""
    import torch

    generator = np.random.default_rng(0)
    size, channels = (512, 512), 150
    coarse = generator.standard_normal((8, 8, 8, channels), np.float32)
    for what, logits in [
        ("smooth", coarse.repeat(16, 1).repeat(16, 2)),
        ("noise", generator.standard_normal((8, 128, 128, channels), np.float32)),
    ]:
        planes = torch.from_numpy(np.ascontiguousarray(logits.transpose(0, 3, 1, 2))).cuda()

        def theirs(planes=planes):
            return torch.nn.functional.interpolate(planes, size, mode="bilinear").argmax(1)

        classes = device.empty(np.zeros((8, *size), np.int32))
        ours = our_milliseconds(device, "resize_argmax", [device.array(logits), classes], [0])
        yield Race(
            f"resize + argmax of {what} 8x128x128x{channels} to 512x512",
            ours,
            {"torch": torch_milliseconds(theirs)},
            least_bytes=logits.nbytes + classes.bytes,
            off=float((classes.numpy() != theirs().cpu().numpy()).mean()),
        )
