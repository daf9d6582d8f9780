"""resize_softmax_cross_entropy and its Dice sums on a GPU: all forms of the loss and of the gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.cuda.case import FLOATS, Case
from benchmarks.cuda.device import Device, convert, to_float
from benchmarks.cuda.race import Race, our_milliseconds, torch_milliseconds

EPS = float(np.finfo(np.float32).eps)
VOID = 255


@dataclass(frozen=True)
class Problem:
    """Labels, logits, upstream numbers and options of one size."""

    what: str
    dtype: str
    labels: np.ndarray
    logits: np.ndarray
    upstream: np.ndarray
    weights: np.ndarray  # of the pixels
    sums_gradient: np.ndarray
    ignore_index: int | None = VOID
    smoothing: float = 0.0
    align_corners: bool = False
    class_weights: tuple[float, ...] = ()

    @property
    def numbers(self) -> list[float]:
        ignored = self.ignore_index is not None
        return [ignored, self.ignore_index or 0, self.smoothing, self.align_corners, *self.class_weights]

    @property
    def logit_error(self) -> float:
        """Of an interpolated logit: a step of the position and four roundings, of the difference of two logits."""
        values = np.clip(np.nan_to_num(to_float(self.logits), posinf=1e30, neginf=-1e30), -1e30, 1e30)
        span = float(values.max() - values.min()) if values.size else 0.0
        return 8 * EPS * max(span, abs(float(values.max())) if self.logits.shape[-1:] == (1,) and values.size else 0)

    @property
    def classes(self) -> int:
        return max(self.logits.shape[-1], 2)

    @property
    def largest_weight(self) -> float:
        return max(self.class_weights, default=1.0)

    @property
    def loss_tolerance(self) -> float:
        """Twice a logit's error, and that of summing up over the classes and of the logarithm."""
        return self.largest_weight * (2 * self.logit_error + (self.classes + 16) * EPS)

    def gradient_tolerance(self, upstream: float) -> float:
        """For upstream numbers up to `upstream`: the relative error of a probability, for all outputs of a pixel."""
        outputs = 1.0
        for out_size, in_size in zip(self.labels.shape[1:], self.logits.shape[1:3], strict=True):
            outputs *= out_size / in_size + 2  # the sum of bilinear weights along an axis
        relative = min(2 * self.logit_error, 2.0) + (self.classes + 16 + 4 * outputs) * EPS
        return relative * outputs * upstream * self.largest_weight


def expected(problem: Problem, form: str):
    """What the reference gives, in float64."""
    import tensorflow as tf

    import kseg_ops

    settings = {
        "ignore_index": problem.ignore_index,
        "class_weights": problem.class_weights or None,
        "label_smoothing": problem.smoothing,
        "align_corners": problem.align_corners,
    }
    logits = tf.constant(to_float(problem.logits).astype(np.float64))
    upstream = tf.constant(problem.upstream.astype(np.float64))
    with kseg_ops.use_reference(), tf.GradientTape() as tape:
        tape.watch(logits)
        if form.startswith("dice"):
            loss, *sums = kseg_ops.resize_softmax_cross_entropy_and_dice(
                problem.labels, logits, problem.weights, **settings
            )
            sums = tf.stack(sums, axis=1)
            total = tf.reduce_sum(loss * upstream) + tf.reduce_sum(sums * problem.sums_gradient.astype(np.float64))
        else:
            loss = kseg_ops.resize_softmax_cross_entropy(problem.labels, logits, **settings)
            total = tf.reduce_sum(loss * upstream if form == "gradient" else loss)
    if form == "dice":
        return [loss.numpy(), sums.numpy()]
    gradient = tape.gradient(total, logits)
    gradient = np.zeros(logits.shape) if gradient is None else gradient.numpy()
    return [loss.numpy(), gradient] if form == "training" else [gradient]


def loss_and_unit_gradient(problem: Problem) -> Case:
    return Case(
        name=f"resize_softmax_cross_entropy/{problem.dtype}, {problem.what}",
        launcher="resize_softmax_cross_entropy_training",
        inputs=[problem.labels, problem.logits],
        outputs=[np.zeros(problem.labels.shape, np.float32), problem.logits],
        expected=lambda: expected(problem, "training"),
        tolerance=[problem.loss_tolerance, problem.gradient_tolerance(1.0)],
        numbers=problem.numbers,
    )


def gradient(problem: Problem) -> Case:
    return Case(
        name=f"resize_softmax_cross_entropy_grad/{problem.dtype}, {problem.what}",
        launcher="resize_softmax_cross_entropy_grad",
        inputs=[problem.labels, problem.logits, problem.upstream],
        outputs=[problem.logits],
        expected=lambda: expected(problem, "gradient"),
        tolerance=[problem.gradient_tolerance(2.0)],
        numbers=problem.numbers,
    )


def dice(problem: Problem) -> Case:
    count = problem.labels.shape[1] * problem.labels.shape[2]
    return Case(
        name=f"resize_softmax_cross_entropy_and_dice/{problem.dtype}, {problem.what}",
        launcher="resize_softmax_cross_entropy_and_dice",
        inputs=[problem.labels, problem.logits, problem.weights],
        outputs=[np.zeros(problem.labels.shape, np.float32), problem.sums_gradient],
        expected=lambda: expected(problem, "dice"),
        tolerance=[
            problem.loss_tolerance,
            (min(2 * problem.logit_error, 2.0) + (problem.classes + 16 + count) * EPS) * count,
        ],
        numbers=problem.numbers,
    )


def dice_gradient(problem: Problem) -> Case:
    return Case(
        name=f"resize_softmax_cross_entropy_and_dice_grad/{problem.dtype}, {problem.what}",
        launcher="resize_softmax_cross_entropy_and_dice_grad",
        inputs=[problem.labels, problem.logits, problem.weights, problem.upstream, problem.sums_gradient],
        outputs=[problem.logits],
        expected=lambda: expected(problem, "dice_gradient"),
        tolerance=[problem.gradient_tolerance(8.0)],  # 2 of the loss, 1 for each of two factors, which appear thrice
        numbers=problem.numbers,
    )


def problem(generator, what, dtype, source, size, channels, batch=2, scale=3.0, labels="int32", **options) -> Problem:
    classes = max(channels, 2)
    truth = generator.integers(0, classes, (batch, *size))
    if options.get("ignore_index", VOID) is not None:
        truth = np.where(generator.uniform(size=truth.shape) < 0.2, options.get("ignore_index", VOID), truth)
    shape = (batch, 1, size[1]) if size[0] % 2 else (batch, *size)
    return Problem(
        what,
        dtype,
        truth.astype(labels),
        convert((scale * generator.standard_normal((batch, *source, channels))).astype(np.float32), dtype),
        generator.uniform(-2, 2, (batch, *size)).astype(np.float32),
        generator.uniform(0, 1, shape).astype(np.float32),
        generator.uniform(-1, 1, (batch, 3, classes)).astype(np.float32),
        **options,
    )


def cases(seed: int) -> list[Case]:
    """Every dtype and option; up, down and at one size; more classes than a block takes; logits of every magnitude."""
    generator = np.random.default_rng(seed)
    weights = tuple(float(weight) for weight in generator.uniform(0, 2, 33).round(2))
    made = []
    for dtype in FLOATS:
        four_times = problem(generator, "4x", dtype, (5, 6), (20, 24), 7)
        options = {"smoothing": 0.25, "class_weights": weights, "labels": "uint8"}
        uneven = problem(generator, "uneven, all options", dtype, (3, 5), (14, 13), 33, **options)
        made += [form(each) for form in (loss_and_unit_gradient, gradient) for each in (four_times, uneven)]
        made += [form(each) for form in (dice, dice_gradient) for each in (four_times, uneven)]
    many = [
        problem(generator, "one pixel", "float32", (1, 1), (5, 9), 2, ignore_index=-1, labels="int8"),
        problem(generator, "smaller", "float32", (9, 8), (5, 3), 5, ignore_index=None, labels="int64"),
        problem(generator, "sigmoid", "float32", (4, 5), (4, 10), 1, smoothing=0.5, class_weights=(0.5, 2.0)),
        problem(generator, "corners aligned", "float32", (3, 4), (9, 13), 170, batch=1, align_corners=True),
        problem(generator, "corners aligned, one output", "float32", (3, 4), (1, 1), 3, align_corners=True),
        problem(generator, "corners aligned, one pixel", "float32", (1, 1), (3, 4), 3, align_corners=True),
        problem(generator, "tall", "float32", (2, 3), (150, 12), 3, batch=1),
        problem(generator, "wide range", "float32", (4, 3), (11, 7), 6, scale=300.0),
        problem(generator, "no labels", "float32", (4, 3), (0, 7), 6),
        problem(generator, "no images", "float32", (4, 3), (8, 6), 6, batch=0),
    ]
    made += [form(each) for each in many for form in (loss_and_unit_gradient, gradient, dice, dice_gradient)]
    return made


def races(device: Device) -> Iterator[Race]:
    """ADE20K's 150 classes at a quarter of the size, batch 8."""
    import torch

    generator = np.random.default_rng(0)
    source, size = (8, 128, 128, 150), (8, 512, 512)
    logits = generator.standard_normal(source, np.float32)
    labels = generator.integers(0, source[-1], size).astype(np.int32)
    labels[:, :32] = VOID
    numbers = [1, VOID, 0.0, 0]
    planes = torch.from_numpy(np.ascontiguousarray(logits.transpose(0, 3, 1, 2))).cuda().requires_grad_()
    truth = torch.from_numpy(labels).cuda().long()

    def forward():
        resized = torch.nn.functional.interpolate(planes, size[1:], mode="bilinear", align_corners=False)
        return torch.nn.functional.cross_entropy(resized, truth, ignore_index=VOID, reduction="sum")

    def both():
        return torch.autograd.grad(forward(), planes)[0]

    arrays = [
        device.array(labels),
        device.array(logits),
        device.empty(np.zeros(size, np.float32)),
        device.empty(logits),
    ]
    name = "x".join(map(str, source)) + " to " + "x".join(map(str, size[1:]))
    alone = our_milliseconds(device, "resize_softmax_cross_entropy", arrays[:3], numbers)
    trained = our_milliseconds(device, "resize_softmax_cross_entropy_training", arrays, numbers)
    theirs = both().permute(0, 2, 3, 1).cpu().numpy()
    yield Race(f"resize + cross-entropy {name}, forward", alone, {"torch": torch_milliseconds(forward)}, {"torch": 3.0})
    yield Race(
        f"resize + cross-entropy {name}, forward and backward",
        trained,
        {"torch": torch_milliseconds(both)},
        {"torch": 3.0},
        off=float(np.abs(arrays[3].numpy() - theirs).max() / np.abs(theirs).max()),
    )
