"""`python -m benchmarks.xla [NAME ...]`: training steps compiled by XLA, with compiled ops and without, and no XLA.

A step is forward, the model's own loss, backward and a step of SGD. All three run in one process, in turn; what a step
takes to be compiled, once, is not in the figures and is told beside them.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import kseg
import kseg_ops
from benchmarks.harness import Row, Timer
from benchmarks.run import report
from kseg.backbones import ResNet
from kseg_ops import _library

CLASSES = 21
SEMANTIC, INSTANCES = (2, 256, 256), (1, 256, 256)
OBJECTS = 8


@dataclass(frozen=True)
class Case:
    """A model and what it learns from."""

    make: Callable[[], keras.Model]
    batch: Callable[[], tuple]
    size: tuple[int, ...]


def _images(shape: tuple[int, ...]) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).integers(0, 256, (*shape, 3)), tf.float32)


def _semantic() -> tuple:
    return _images(SEMANTIC), tf.constant(np.random.default_rng(1).integers(0, CLASSES, SEMANTIC), tf.uint8)


def _instances() -> tuple:
    rng = np.random.default_rng(1)
    batch, height, width = INSTANCES
    corners = np.sort(rng.integers(0, height - 32, (batch, OBJECTS, 2, 2)), axis=2)
    corners[:, :, 1] += 32
    masks = np.zeros((batch, OBJECTS, height, width), "uint8")
    for image in range(batch):
        for index, ((x1, y1), (x2, y2)) in enumerate(corners[image]):
            masks[image, index, y1:y2, x1:x2] = 1
    return _images(INSTANCES), {
        "boxes": tf.constant(corners.reshape(batch, OBJECTS, 4), tf.float32),
        "classes": tf.constant(rng.integers(0, CLASSES, (batch, OBJECTS)), tf.int32),
        "masks": kseg_ops.pack_masks(tf.constant(masks)),
    }


CASES = {
    "unet_resnet34": Case(lambda: kseg.UNet(CLASSES, backbone=ResNet(34)), _semantic, SEMANTIC),
    "deeplabv3plus_resnet50": Case(lambda: kseg.DeepLabV3Plus(CLASSES), _semantic, SEMANTIC),
    "mask_rcnn_resnet18": Case(
        lambda: kseg.MaskRCNN(
            CLASSES, backbone=ResNet(18), num_proposals=200, training_proposals=200, box_samples=64, pyramid_filters=64
        ),
        _instances,
        INSTANCES,
    ),
}


def _step(case: Case, jit: bool, native: bool = True) -> tuple[Callable[[], object], float]:
    """A call that makes one step, and the seconds that its first call took."""
    model, data = case.make(), case.batch()
    model.compile(keras.optimizers.SGD(1e-4), jit_compile=jit)
    model.optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step, jit_compile=jit)

    def call():
        with contextlib.nullcontext() if native else kseg_ops.use_reference():
            return step(data)["loss"].numpy()

    start = time.perf_counter()
    call()
    return call, time.perf_counter() - start


def run(name: str, repeats: int) -> tuple[Row, dict[str, float]]:
    """The row of one model, and what compiling each of its steps took."""
    case = CASES[name]
    steps, seconds = {}, {}
    contenders = {
        "": {"jit": True},
        "XLA, reference ops": {"jit": True, "native": False},
        "compiled ops without XLA": {"jit": False},
    }
    for label, options in contenders.items():
        steps[label], seconds[label or "kseg"] = _step(case, **options)
    row = Timer(repeats=repeats).compare(
        f"{name}, training step {'x'.join(map(str, case.size))}, XLA and compiled ops", steps.pop(""), steps
    )
    return row, seconds


def main(argv: list[str] | None = None) -> int:
    """Runs the chosen models, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.xla", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which models (default: all): {', '.join(CASES)}")
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds per case (default: 5)")
    parser.add_argument("--output", type=Path, default=None, help="also write the figures to this JSON file")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.names) - set(CASES))
    if unknown:
        parser.error(f"NAME must be one of {', '.join(CASES)}; got {', '.join(unknown)}")
    if problem := _library.xla_problem():
        parser.error(f"XLA cannot compile the compiled ops: {problem}")
    rows: list[Row] = []
    for name in args.names or CASES:
        with multiprocessing.get_context("spawn").Pool(1) as process:
            row, seconds = process.apply(run, (name, args.repeats))
        rows.append(row)
        compiled = ", ".join(f"{label} {value:.0f} s" for label, value in seconds.items())
        sys.stdout.write(f"{name}: first step {compiled}\n")
    return report(rows, args.output)


if __name__ == "__main__":
    sys.exit(main())
