"""`python -m benchmarks.instances [NAME ...]`: how far Mask R-CNN gets from scratch within so many minutes of CPU time.

- `cells`: generated cells, judged on pictures that it never saw;
- `fruits`: fourteen photographs of dates, figs and hazelnuts, judged on the same photographs: whether it can learn
  them at all;
- `fruits-unseen`: trained on eleven of them and judged on the other three.

All have one thread, which wastes no CPU time, a ResNet-18 of a quarter of the usual width, and random weights. The time
charged is that of the process from building the network on: data, tracing, every step.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import harness

RESULTS = Path(__file__).resolve().parent / "results" / "instances.json"
UNSEEN = (1, 6, 11)  # photographs of `fruits-unseen`, one in five
PICTURES = 4
REPORTED = ("AP", "AP50", "AP75")


@dataclasses.dataclass(frozen=True)
class Case:
    """What a run is made with.

    Attributes:
        budget: seconds of CPU time.
        bar: least mask AP50; 0 for none.
        rate: the highest learning rate of Adam.
        batch: images per step.
        size: height and width of the canvas.
        anchors: in pixels, one per level of the pyramid.
    """

    budget: float
    bar: float
    rate: float
    batch: int
    size: tuple[int, int]
    anchors: tuple[float, ...]


CASES = {
    "cells": Case(300, 0.8, 1e-3, 4, (96, 96), (16, 24, 32, 48, 64)),
    "fruits": Case(300, 0.9, 1e-3, 2, (288, 384), (24, 40, 64, 96, 128)),
    "fruits-unseen": Case(400, 0.0, 1e-3, 2, (288, 384), (24, 40, 64, 96, 128)),
}


def sources(name: str):
    """What a case trains on and what it is judged on."""
    import kseg

    if name == "cells":
        train, unseen = (kseg.data.CellsSource(count, 96, seed, channels=3) for count, seed in ((400, 1), (40, 5)))
        return kseg.data.CellInstancesSource(train), kseg.data.CellInstancesSource(unseen)
    folder = harness.shared_data("fruits_nuts")
    photographs = kseg.data.CocoSource(folder / "images", folder / "instances.json")
    if name == "fruits":
        return photographs, photographs
    others = [index for index in range(len(photographs)) if index not in UNSEEN]
    return kseg.data.InstanceSubset(photographs, others), kseg.data.InstanceSubset(photographs, UNSEEN)


def _learning_rate(case: Case, elapsed: float) -> float:
    """Up a line, then down half a cosine to 0 at the end of the budget."""
    part = min(elapsed / case.budget, 1.0)
    return case.rate * (max(part / 0.03, 0.01) if part < 0.03 else 0.5 * (1 + np.cos(np.pi * part)))


def run(name: str, case: Case, pictures: Path | None) -> dict:
    """Trains and judges in this process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import keras
    import tensorflow as tf

    import kseg

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    train, judged = sources(name)
    started = time.process_time()
    keras.utils.set_random_seed(0)
    augment = kseg.data.InstanceAugment(flip="both", scale=(0.8, 1.25) if name != "cells" else 0.0)
    batches = kseg.data.instance_pipeline(
        train, case.batch, image_size=case.size, max_instances=32, augment=augment, shuffle=True, cache=True
    )
    model = kseg.MaskRCNN(
        train.num_classes,
        kseg.backbones.ResNet(18, filters=16),
        pyramid_filters=48,
        head_units=128,
        anchor_sizes=case.anchors,
        aspect_ratios=(0.7, 1.4),
        num_proposals=150,
        training_proposals=300,
        rpn_samples=128,
        box_samples=128,
        aligned=True,
        max_detections=50,
        class_names=train.class_names,
        seed=1,
    )
    optimizer = keras.optimizers.Adam(case.rate, global_clipnorm=10.0)
    model.compile(optimizer)

    class Budget(keras.callbacks.Callback):
        """Sets the learning rate, and stops when the time is spent."""

        steps = 0

        def on_train_batch_begin(self, batch, logs=None):
            optimizer.learning_rate.assign(_learning_rate(case, time.process_time() - started))

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1
            if time.process_time() - started >= case.budget:
                self.model.stop_training = True

    budget = Budget()
    history = model.fit(batches, epochs=10**6, verbose=0, callbacks=[budget]).history
    seconds = time.process_time() - started
    evaluator = kseg.metrics.CocoEvaluator(train.class_names, ["box", "mask"], paste_mode=model.paste_mode)
    logs = {}
    unseen = kseg.data.instance_pipeline(judged, 1, image_size=case.size, max_instances=64)
    judge = kseg.callbacks.CocoEvaluation(unseen, evaluator, prefix="")
    judge.set_model(model)
    judge.on_epoch_end(0, logs)
    if pictures:
        _draw(pictures, name, model, judged, case.size)
    return {
        "case": name,
        "settings": dataclasses.asdict(case),
        "steps": budget.steps,
        "seconds": round(seconds, 1),
        "parameters": model.count_params(),
        "losses": {key: values[-1] for key, values in history.items()},
        **{f"{kind}_{figure}": logs[f"{kind}_{figure}"] for kind in ("mask", "box") for figure in REPORTED},
        "commit": harness.commit(),
        "machine": harness.machine(),
    }


def _draw(folder: Path, name: str, model, source, size: tuple[int, int]) -> None:
    """Writes some of the images beside the truth and what the model finds."""
    from PIL import Image

    import kseg
    from kseg.viz import display_image, instances_overlay

    folder.mkdir(parents=True, exist_ok=True)
    for index in range(min(PICTURES, len(source))):
        image, truth = source.load(index)
        zoom = max(1, 320 // max(image.shape[:2]))
        found = kseg.predict_instances(model, image, shorter_side=min(size), longer_side=max(size))
        parts = [
            display_image(image).repeat(zoom, axis=0).repeat(zoom, axis=1),
            instances_overlay(image, truth.boxes, truth.dense(), contour_width=2, zoom=zoom),
            found.plot(zoom=zoom),
        ]
        between = np.full((parts[0].shape[0], 8, 3), 255, np.uint8)
        Image.fromarray(np.hstack([parts[0], between, parts[1], between, parts[2]])).save(
            folder / f"{name}-{index}.png"
        )


def main(argv: list[str] | None = None) -> int:
    """Runs the cases, each in a process of its own, and returns 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instances", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which cases (default: all): {', '.join(CASES)}")
    parser.add_argument("--budget", type=float, help="seconds of CPU time, instead of the case's own")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file (default: results/instances.json)")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of what was found")
    args = parser.parse_args(argv)
    unknown = [name for name in args.names if name not in CASES]
    if unknown:
        parser.error(f"NAME: expected some of {', '.join(CASES)}, got {', '.join(unknown)}")
    missed = False
    for name in args.names or CASES:
        case = CASES[name] if args.budget is None else dataclasses.replace(CASES[name], budget=args.budget)
        with multiprocessing.get_context("spawn").Pool(1) as process:
            result = process.apply(run, (name, case, args.pictures))
        runs = json.loads(args.output.read_text())["runs"] if args.output.exists() else []
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps({"runs": [*runs, result]}, indent=1) + "\n")
        kept = result["mask_AP50"] >= case.bar
        missed |= not kept
        bar = f", at least {case.bar} promised: {'kept' if kept else 'MISSED'}" if case.bar else ""
        figures = ", ".join(f"{key} {result[key]:.3f}" for key in result if key.startswith(("mask_", "box_")))
        print(f"{name}: {figures} after {result['steps']} steps in {result['seconds']} s{bar}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
