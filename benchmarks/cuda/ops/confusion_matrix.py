"""confusion_matrix on a GPU: of logits and of classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cuda.case import FLOATS, Case
from benchmarks.cuda.device import Device, convert, to_float
from benchmarks.cuda.race import Race, our_milliseconds, torch_milliseconds

VOID = 255


def cases(seed: int) -> list[Case]:
    """Every dtype; few classes and more than shared memory holds; ends of vectors, ties, NaN, no pixels."""
    generator = np.random.default_rng(seed)
    made = []
    for dtype in FLOATS:
        for pixels, channels in [(1000, 19), (77, 32), (530, 2), (301, 33), (150, 70), (5, 1)]:
            logits = convert(generator.standard_normal((pixels, channels)).astype(np.float32), dtype)
            made.append(_case(f"{channels} channels", _labels(generator, pixels, max(channels, 2)), logits))
    rough = np.round(generator.standard_normal((400, 20))).astype(np.float32)
    rough[generator.uniform(size=rough.shape) < 0.2] = np.nan
    rough[::7] = -np.inf
    rough[3::7, 4:6] = np.inf
    rough[4::7] = np.nan
    many = np.round(2 * generator.standard_normal((40, 45))).astype(np.float32)
    many[::3, ::2] = np.nan
    made += [
        _case("NaN, infinities and equal logits", _labels(generator, 400, 20), rough),
        _case("NaN and equal logits, many", _labels(generator, 40, 45), many),
        _case("no pixels", np.zeros(0, np.int32), rough[:0]),
        _case("one class", np.zeros(9, np.int32), rough[:9, :1], classes=1),
    ]
    for labels, predictions in [
        ("uint8", "uint8"),
        ("int64", "int32"),
        ("int32", "int64"),
        ("int8", "uint8"),
        ("uint8", "int8"),
    ]:
        ignored = -1 if labels == "int8" else VOID
        truth = _labels(generator, 3003, 21, ignored).astype(labels)
        guess = generator.integers(0, 21, 3003)
        truth[:1500], guess[:1200] = 3, 3
        made.append(_case(f"{labels} and {predictions}", truth, guess.astype(predictions), 21, ignored))
    wide = generator.integers(0, 300, (2, 500)).astype(np.int32)
    made.append(_case("300 classes", wide[0], wide[1], 300, None))
    made.append(_case("no classes", wide[0, :0], wide[1, :0], 3, None))
    return made


def _labels(generator: np.random.Generator, pixels: int, classes: int, ignored: int = VOID) -> np.ndarray:
    labels = generator.integers(0, classes, pixels)
    return np.where(generator.uniform(size=pixels) < 0.1, ignored, labels).astype(np.int32)


def _case(what, labels, predictions, classes=None, ignored=VOID) -> Case:
    logits = predictions.ndim == 2
    classes = classes or max(predictions.shape[1], 2)
    name = type(predictions).__name__ if predictions.dtype == np.uint16 else predictions.dtype.name

    def expected():
        import kseg_ops

        values = to_float(predictions) if logits else predictions
        with kseg_ops.use_reference():
            return [kseg_ops.confusion_matrix(labels, values, classes, ignore_index=ignored).numpy()]

    return Case(
        name=f"confusion_matrix/{what}, {name} {len(labels)}",
        launcher="confusion_matrix",
        inputs=[labels, predictions],
        outputs=[np.zeros((classes, classes), np.int64)],
        expected=expected,
        tolerance=[0],
        numbers=[ignored is not None, ignored or 0],
    )


def races(device: Device) -> Iterator[Race]:
    """8 images of 512 x 512: of logits and of classes, in patches as images have them."""
    import torch

    generator = np.random.default_rng(0)
    for classes in (19, 150):
        patches = generator.integers(0, classes, (8, 32, 32)).astype(np.int32)
        labels = patches.repeat(16, 1).repeat(16, 2).reshape(-1)
        logits = generator.standard_normal((labels.size, classes), np.float32)
        guess = np.roll(labels, 5)
        truth = torch.from_numpy(labels).cuda().long()
        for what, predictions in (("logits", logits), ("classes", guess)):
            values = torch.from_numpy(predictions).cuda()

            def theirs(values=values, classes=classes, truth=truth):
                won = values.argmax(1) if values.dim() == 2 else values.long()
                return torch.bincount(truth * classes + won, minlength=classes**2).reshape(classes, classes)

            counts = device.empty(np.zeros((classes, classes), np.int64))
            arrays = [device.array(labels), device.array(predictions), counts]
            ours = our_milliseconds(device, "confusion_matrix", arrays, [1, VOID])
            yield Race(
                f"confusion matrix of {what}, 8x512x512, {classes} classes",
                ours,
                {"torch": torch_milliseconds(theirs)},
                least_bytes=labels.nbytes + predictions.nbytes,
                off=float(np.abs(counts.numpy() - theirs().cpu().numpy()).max()),
            )
