"""`python -m benchmarks.camvid`: how far models get on CamVid from scratch within so many seconds of CPU time.

367 driving scenes to train on and 101 to judge by, at 240 x 180 pixels, with 11 classes and void. All models have the
same batches (random crops, mirrored or not), Adam, learning rate over the course of the budget, loss (cross-entropy
over the pixels that are not void), scaling of images by the statistics of ImageNet where they stand on a ResNet,
threads, and confusion matrix. `unet_resnet18` and `smp_unet_resnet18` are the same network in kseg and in PyTorch: the
matched pair, which runs with every seed. The others run with the first.

Each run has a process of its own and is added to the JSON file as it ends; a run that the file holds already is left
out, so that a benchmark of hours can be spread over several sittings.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np

from benchmarks.camvid_parts import data
from benchmarks.camvid_parts.record import Record, table, verdict
from benchmarks.camvid_parts.settings import Settings, Trained

OURS, YARDSTICK = "unet_resnet18", "smp_unet_resnet18"
KSEG, TORCH = "kseg_side", "torch_side"
# The module that has each model.
SIDES = {OURS: KSEG, YARDSTICK: TORCH, "deeplabv3plus_resnet18": KSEG, "unet": KSEG, "segnet": KSEG}
PICTURES = 4


def train(settings: Settings) -> Trained:
    """Trains in this process, with the library of the model."""
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    side = importlib.import_module(f"benchmarks.camvid_parts.{SIDES[settings.model]}")
    return side.train(settings)


def draw(folder: Path, name: str, predicted: np.ndarray) -> None:
    """Writes image, truth, prediction and errors of some validation frames side by side."""
    from PIL import Image

    from kseg.viz import triptych

    images, masks = data.load("val")
    folder.mkdir(parents=True, exist_ok=True)
    for index in np.linspace(0, len(images) - 1, PICTURES).astype(int):
        picture = triptych(
            images[index],
            masks[index],
            predicted[index],
            len(data.CLASS_NAMES),
            class_names=data.CLASS_NAMES,
            ignore_index=data.VOID,
        )
        Image.fromarray(picture).save(folder / f"{name}-{index:03d}.png")


def in_own_process(function, *arguments):
    """The result of a function, from a process in which nothing was imported before."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(function, arguments)


def main(argv: list[str] | None = None) -> int:
    """Runs what the file lacks; returns 1 if kseg stays behind the yardstick by more than a standard error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.camvid", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SIDES, default=list(SIDES), metavar="NAME",
                        help=f"which models (default: all): {', '.join(SIDES)}")  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the matched pair (default: 0 1 2)")
    parser.add_argument("--budget", type=float, default=1200, help="seconds of CPU time for each run (default: 1200)")
    parser.add_argument("--batch", type=int, default=4, help="images per step (default: 4)")
    parser.add_argument("--crop", type=int, nargs=2, default=[160, 224], metavar=("H", "W"),
                        help=f"multiples of {data.STRIDE} within 180 x 240 (default: 160 224)")  # fmt: skip
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate of Adam (default: 0.001)")
    parser.add_argument("--threads", type=int, default=1, help="of each library (default: 1, which wastes no CPU time)")
    parser.add_argument("--output", type=Path, help="JSON file (default: results/camvid.json)")
    parser.add_argument("--pictures", type=Path, help="folder for overlays of some validation frames")
    args = parser.parse_args(argv)
    if any(side % data.STRIDE or not 0 < side <= most for side, most in zip(args.crop, (180, 240), strict=True)):
        parser.error(f"--crop: expected multiples of {data.STRIDE} within 180 x 240, got {args.crop}")

    results = Path(__file__).resolve().parent / "results"
    record = Record(args.output or results / "camvid.json")

    def settings(name: str, seed: int) -> Settings:
        return Settings(name, seed, args.budget, args.batch, tuple(args.crop), args.rate, args.threads)

    truth = data.load("val")[1]
    # One seed of every model comes first, so that a sitting cut short has something of each, then the pair's others.
    wanted = [(name, args.seeds[0]) for name in args.only]
    wanted += [(name, seed) for seed in args.seeds[1:] for name in args.only if name in (OURS, YARDSTICK)]
    for name, seed in wanted:
        if record.has(settings(name, seed)):
            continue
        trained = in_own_process(train, settings(name, seed))
        run = record.add(settings(name, seed), trained, data.confusion_matrix(truth, trained.classes))
        print(f"{name}, seed {seed}: mean IoU {run['mean_iou']:.4f} after {run['steps']} steps", flush=True)
        if args.pictures:
            in_own_process(draw, args.pictures, f"{name}-{seed}", trained.classes)
    groups = {name: record.like(settings(name, 0)) for name in SIDES}
    print(f"\n{table(groups)}")
    answer = verdict(groups[OURS], groups[YARDSTICK])
    if answer is None:
        return 0
    print(f"\n{answer[1]}")
    return 0 if answer[0] else 1


if __name__ == "__main__":
    sys.exit(main())
