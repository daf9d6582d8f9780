"""`kseg demo`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from .arguments import whole
from .errors import CliError, no_folder

HELP = "train, evaluate, export and reload a small U-Net in a few minutes"
DESCRIPTION = (
    "Train a small U-Net on generated microscopy (or on --data), evaluate it on unseen images beside Otsu's "
    "threshold plus watershed, write a run folder with a report, export the model, and check the export in a "
    "process without kseg."
)

# Asked of the network on generated cells.
TARGET_MEAN_IOU = 0.90
# Steps of a demo on a user's folder: a few minutes on two cores.
_USER_STEPS = 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("--data", metavar="DIR", help="data folder of your own; default generated cells")
    parser.add_argument("--out", metavar="RUN", help="run folder (default runs/demo, replaced if it is there)")
    parser.add_argument("--overwrite", action="store_true", help="replace a run that RUN holds already")
    parser.add_argument(
        "--epochs", type=whole(1), metavar="N", help="passes over the images; default as many as needed"
    )
    parser.add_argument("--seed", type=whole(0, 2**31 - 1), default=0, metavar="N", help="seed (default 0)")


def run(arguments: argparse.Namespace) -> int:
    """Runs the demo."""
    if arguments.data is not None and not Path(arguments.data).is_dir():
        raise CliError(f"--data: expected a folder, got {arguments.data}, {no_folder(arguments.data)}.")
    started = time.monotonic()
    folder = Path(arguments.out or Path("runs") / "demo")

    from .quiet import import_tensorflow

    import_tensorflow()
    from rich.console import Console

    from kseg.training import TrainingInterrupted, TrainingProgress
    from kseg.training.progress import duration
    from kseg.training.run import train_run

    from .tables import class_table

    console = Console(soft_wrap=True, highlight=False)
    config = _config(arguments)
    yardstick = _Yardstick()
    progress = TrainingProgress(console)
    try:
        evaluation = train_run(
            config,
            folder,
            overwrite=arguments.overwrite or arguments.out is None,
            progress=progress,
            extras=yardstick,
        )
    except TrainingInterrupted:
        console.print(f"Interrupted; everything is saved. Continue with:  kseg train --resume {folder}", markup=False)
        return 130
    console.print(class_table(evaluation))
    console.print(f"mean IoU, U-Net:             {evaluation.mean_iou:.4f}")
    console.print(f"mean IoU, Otsu + watershed:  {yardstick.text}")
    same = _export_and_compare(folder, console)
    reached = arguments.data is not None or evaluation.mean_iou >= TARGET_MEAN_IOU
    if not reached:
        console.print(
            f"The U-Net stayed below the {TARGET_MEAN_IOU:.2f} that it should reach; train longer with --epochs."
        )
    console.print(f"Done in {duration(time.monotonic() - started)}. Look at:")
    for path, what in (
        (folder / "report.html", "the report: open it in a browser"),
        (folder / "overlays", "predictions, worst first"),
        (folder / "best.keras", "the model: keras.models.load_model after import kseg"),
        (folder / "export", "the model for serving: stock TensorFlow, no kseg needed"),
        (folder / "tensorboard", f"curves: tensorboard --logdir {folder / 'tensorboard'}"),
    ):
        console.print(f"  {path!s:<28} {what}", markup=False)
    return 0 if same and reached else 1


class _Yardstick:
    """Otsu plus watershed on the same images, for the report and for the terminal."""

    text = "not computed"

    def __call__(self, source) -> dict:
        from kseg.data import otsu_watershed
        from kseg.training.evaluation import evaluate

        if source.num_classes > 2:
            self.text = f"not computed: it tells two classes apart, and there are {source.num_classes}"
            return {"notes": [f"Otsu + watershed {self.text}."]}
        try:
            figures = evaluate(
                otsu_watershed,
                (source.load(index) for index in range(len(source))),
                source.num_classes,
                ignore_index=source.ignore_index,
            )
        except ImportError as error:
            self.text = f"not computed: {error}"
            return {"notes": [f"Otsu + watershed {self.text}."]}
        self.text = f"{figures.mean_iou:.4f}"
        return {
            "comparison": [("Otsu's threshold + watershed (no training), mean IoU", self.text)],
            "metrics": {"otsu_watershed": {"mean_iou": figures.mean_iou, "mean_dice": figures.mean_dice}},
        }


def _config(arguments):
    from kseg.training.run_config import RunConfig

    common = {"filters": 16, "seed": arguments.seed, "augment": "full"}
    if arguments.data is None:
        # Batches of 4: more steps for the same work, which the slow averages of batch normalisation need.
        return RunConfig(epochs=arguments.epochs or 14, batch_size=4, lr=2e-3, cells_train=160, cells_val=32, **common)
    from kseg.data import open_folder

    train, _ = open_folder(arguments.data, seed=arguments.seed)
    sides = [side for size in train.sizes or () for side in size]
    crop = min(192, *sides) if sides else 192
    steps = -(-len(train) // 4)
    return RunConfig(
        data=str(arguments.data),
        epochs=arguments.epochs or max(2, min(60, round(_USER_STEPS / steps))),
        crop_size=max(crop, 16),
        **common,
    )


def _export_and_compare(folder: Path, console) -> bool:
    """Exports the best model and compares it with kseg on one image, in a process that never imports kseg."""
    import shutil

    import kseg
    from kseg.training.run_config import RunConfig
    from kseg.training.tasks import task_of

    from . import export_check, models

    model = models.load_model(str(folder))
    shutil.rmtree(folder / "export", ignore_errors=True)
    kseg.export(model, folder / "export")
    config, _ = RunConfig.load(folder / "config.json")
    task = task_of(config)
    image, _ = task.open_judged(task.open_sources()[1]).load(0)
    image = image[:1024, :1024]
    agrees, line = export_check.compare(model, folder / "export", image)
    console.print(f"Export reloaded in a process without kseg: {line}", markup=False)
    return agrees
