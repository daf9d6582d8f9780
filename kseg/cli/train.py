"""`kseg train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import architectures, tasks
from .arguments import mask_values, number, sum_of, whole, whole_or_none
from .check_data import has_objects_only
from .errors import CliError, no_folder

HELP = "train a model on a folder of images and masks, or images and objects"
DESCRIPTION = (
    "Train a model on DIR/images and DIR/masks (or DIR/train/... and DIR/val/...), or with --task instance on "
    "DIR/images and DIR/instances.json in COCO's format (likewise, or COCO's own folders), and write a run folder "
    "with the best and the last model, figures, pictures and report.html. Ctrl-C saves; --resume continues, and ends "
    "bit for bit as an uninterrupted run would."
)

# Names that the help tells without waiting for TensorFlow; what they mean is in kseg.training (a test compares them).
LOSSES = (
    *("ce", "dice", "focal", "jaccard", "tversky", "focal-tversky"),
    *("lovasz", "boundary", "hausdorff", "ohem"),
)

# Shown in the help; the values themselves live in kseg.training.run_config (a test compares the two).
DEFAULTS = {
    "task": "semantic",
    "val_fraction": "0.2",
    "ignore_index": "255",
    "on_bad": "error",
    "max_instances": "100",
    "model": "unet",
    "filters": "32",
    "depth": "4",
    "norm": "batch",
    "dropout": "0.0",
    "upsampling": "transpose",
    "pyramid_filters": "256",
    "epochs": "50",
    "batch_size": "4",
    "lr": "0.001",
    "schedule": "cosine",
    "crop_around": "anywhere",
    "crop_share": "0.5",
    "augment": "light",
    "loss": "ce",
    "class_weights": "none",
    "seed": "0",
    "mixed_precision": "none",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments. Settings that are not given are absent, so that --resume can tell which were."""
    run = parser.add_argument_group("run")
    run.add_argument("--out", metavar="RUN", help="run folder to write; default runs/<data>-<date>-<time>")
    run.add_argument("--overwrite", action="store_true", help="replace a run that RUN holds already")
    run.add_argument("--resume", metavar="RUN", help="continue the run in this folder, with its settings")
    run.add_argument(
        "--checkpoint-every",
        metavar="N[s]",
        type=_cadence,
        default=(60.0, None),
        help='save a checkpoint every N batches, or every so many seconds ("30s"); default 60s. No influence on the '
        "result",
    )
    data = parser.add_argument_group("data")
    _add(
        data,
        "--task",
        choices=tuple(tasks.TASKS),
        help="what is learned: the class of each pixel, or objects with their masks or boxes",
    )
    _add(data, "--data", metavar="DIR", help="data folder")
    data.add_argument("--cells", action="store_true", help="train on generated cells, instead of --data")
    _add(data, "--cells-train", type=whole(1), metavar="N", help="generated cells: images to train on; default 96")
    _add(data, "--cells-val", type=whole(1), metavar="N", help="generated cells: images to validate on; default 24")
    _add(data, "--cells-size", type=whole(8), metavar="PX", help="generated cells: side of the images; default 128")
    _add(data, "--val-count", type=whole(1), metavar="N", help="images to validate on, instead of --val-fraction")
    _add(
        data, "--val-fraction", type=number(0, 1, open_low=True), metavar="F", help="part of the images to validate on"
    )
    _add(
        data,
        "--num-classes",
        type=whole(1, 65536),
        metavar="C",
        help="number of classes; default as many as the masks hold",
    )
    _add(data, "--ignore-index", type=whole_or_none, metavar="I", help='mask value that is not counted, or "none"')
    _add(data, "--mask-suffix", metavar="TEXT", help="what mask names have after the image's name, such as _mask")
    _add(data, "--mask-values", type=mask_values, metavar="V=C,...", help="classes of the masks' values: 0=0,255=1")
    _add(
        data,
        "--on-bad",
        choices=("error", "skip"),
        help="objects: what to do about bad images and annotations: stop, or leave them out with a warning",
    )
    _add(data, "--min-side", type=whole(1), metavar="PX", help="objects: shorter side that images are resized to")
    _add(data, "--max-side", type=whole(1), metavar="PX", help="objects: longest that the longer side then is")
    _add(data, "--max-instances", type=whole(1), metavar="N", help="objects: most of an image that are learned")
    _add(
        data,
        "--crop-size",
        type=whole(8),
        metavar="PX",
        help="train on random crops of this side; default whole images",
    )
    _add(
        data,
        "--crop-around",
        choices=("anywhere", "foreground", "classes"),
        help="what random crops lie around: foreground: a pixel that is not class 0; classes: one of a class that is "
        "drawn first, so that rare ones are seen as often",
    )
    _add(
        data,
        "--crop-share",
        type=number(0, 1, open_low=True, open_high=False),
        metavar="F",
        help="part of the crops that --crop-around places; the others lie anywhere",
    )
    _add(
        data,
        "--augment",
        choices=("none", "light", "full"),
        help="none; light: mirrored, light and contrast; full: for images without an up, also turned, scaled, "
        "bent, noise",
    )
    model = parser.add_argument_group("model")
    _add(model, "--model", choices=(*architectures.MODELS, *architectures.DETECTORS), help="architecture")
    _add(
        model,
        "--backbone",
        choices=tuple(architectures.BACKBONES),
        help="network that makes the features; default the published one, and for unet and attention-unet their own",
    )
    _add(model, "--filters", type=whole(1), metavar="N", help="channels of the first level, of U-Nets and SegNet")
    _add(model, "--depth", type=whole(1, 8), metavar="N", help="levels of a U-Net")
    _add(model, "--norm", choices=("batch", "group", "none"), help="normalisation of a U-Net")
    _add(model, "--dropout", type=number(0, 1), metavar="F", help="dropout rate of a U-Net")
    _add(model, "--upsampling", choices=("transpose", "bilinear"), help="how the decoder of a U-Net enlarges")
    _add(model, "--pyramid-filters", type=whole(1), metavar="N", help="channels of a detector's pyramid and heads")
    _add(
        model,
        "--anchor-size",
        type=whole(1),
        metavar="PX",
        help="about the smallest objects of a detector, in pixels of the resized images; default 32",
    )
    training = parser.add_argument_group("training")
    _add(training, "--epochs", type=whole(1), metavar="N", help="passes over the training images")
    _add(training, "--batch-size", type=whole(1), metavar="N", help="images per step")
    _add(
        training,
        "--lr",
        type=number(0, open_low=True),
        metavar="F",
        help=f"learning rate of Adam; objects: {tasks.TASKS['instance'].defaults['lr']}",
    )
    _add(training, "--schedule", choices=("constant", "cosine"), help="course of the learning rate")
    _add(
        training,
        "--loss",
        type=sum_of(LOSSES),
        metavar="LOSS",
        help=f"one of {', '.join(LOSSES)}, or a sum such as ce+dice or dice+0.01*boundary",
    )
    _add(
        training,
        "--class-weights",
        choices=("none", "inverse-frequency", "median-frequency", "enet"),
        help="how the loss weighs classes by how many pixels they have in the training masks",
    )
    _add(training, "--seed", type=whole(0, 2**31 - 1), metavar="N", help="of weights, split, order and augmentation")
    _add(
        training,
        "--mixed-precision",
        nargs="?",
        const="bfloat16",
        choices=("none", "bfloat16", "float16"),
        help="compute in 16 bits (bfloat16 if none is named)",
    )
    _add(training, "--jit", action=argparse.BooleanOptionalAction, help="compile the step with XLA; default no")
    _add(
        training,
        "--deterministic",
        action=argparse.BooleanOptionalAction,
        help="two runs agree bit for bit; default yes (without effect with --jit)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Trains, or continues."""
    given = given_settings(arguments)
    if arguments.cells and "data" in given:
        raise CliError(f"--cells: expected without --data, got --data {given['data']} beside it.")
    if arguments.resume is None and "data" not in given and not arguments.cells:
        raise CliError("--data: expected a data folder, got nothing. `kseg demo` needs none.")
    if arguments.resume is not None:
        _check_resume(arguments)
    elif "data" in given and not Path(given["data"]).is_dir():
        raise CliError(f"--data: expected a folder, got {given['data']}, {no_folder(given['data'])}.")

    from .quiet import import_tensorflow

    import_tensorflow()
    from kseg.training.run_config import ConfigError, RunConfig

    if arguments.resume is not None:
        config, _ = RunConfig.load(Path(arguments.resume) / "config.json")
        if conflicts := config.conflicts(given):
            raise ConfigError(
                f"--resume continues the run with its own settings: {'; '.join(conflicts)}. "
                "Leave these arguments out, or start a new run."
            )
        folder = arguments.resume
    else:
        task = tasks.TASKS[given.get("task", DEFAULTS["task"])]
        if "data" in given and "task" not in given and has_objects_only(Path(given["data"])):
            raise CliError(
                f"--data: {given['data']} holds annotations of objects and no masks: pass --task instance to learn "
                "them."
            )
        config = RunConfig(**{"model": task.models[0], **task.defaults, **given})
        folder = arguments.out or _new_folder("cells" if config.data is None else Path(config.data).resolve().name)
    return train_and_tell(config, folder, arguments)


def train_and_tell(config, folder, arguments, extras=None) -> int:
    """Runs the training and says where the results are.

    Args:
        config: `RunConfig`.
        folder: Run folder.
        arguments: Namespace with `resume`, `overwrite` and `checkpoint_every`.
        extras: See `kseg.training.run.train_run`.

    Returns:
        Exit code.
    """
    from kseg.training import TrainingInterrupted, TrainingProgress
    from kseg.training.run import train_run
    from kseg.training.tasks import TASKS

    progress = TrainingProgress(monitor=TASKS[config.task].monitor)
    seconds, batches = arguments.checkpoint_every
    try:
        evaluation = train_run(
            config,
            folder,
            resume=arguments.resume is not None,
            overwrite=arguments.overwrite,
            checkpoint_seconds=seconds,
            checkpoint_batches=batches,
            progress=progress,
            extras=extras,
        )
    except TrainingInterrupted:
        progress.message(f"Interrupted; everything is saved. Continue with:  kseg train --resume {folder}")
        return 130
    from .tables import tables

    progress.console.print(*tables(evaluation), sep="\n")
    progress.message(f"Report:  {Path(folder) / 'report.html'}")
    return 0


def given_settings(arguments: argparse.Namespace) -> dict:
    """The settings that the user gave, by their names in `RunConfig`."""
    not_settings = {"cells", "out", "overwrite", "resume", "checkpoint_every", "command", "run", "version"}
    return {name: value for name, value in vars(arguments).items() if name not in not_settings}


def _add(group, flag, **options):
    name = flag.lstrip("-").replace("-", "_")
    if name in DEFAULTS:
        options["help"] += f" (default {DEFAULTS[name]})"
    group.add_argument(flag, default=argparse.SUPPRESS, **options)


def _check_resume(arguments):
    folder = Path(arguments.resume)
    if not folder.is_dir():
        raise CliError(f"--resume: expected a run folder, got {folder}, {no_folder(folder)}.")
    if arguments.overwrite:
        raise CliError("--overwrite: expected not to be given with --resume, which continues the run; leave one out.")
    if arguments.out is not None and Path(arguments.out).resolve() != folder.resolve():
        raise CliError(f"--out: the run continues in {folder}, got {arguments.out}; leave --out out.")


def _cadence(text: str) -> tuple[float | None, int | None]:
    """Turns "30s" into (30.0, None) and "100" into (None, 100)."""
    try:
        if text.endswith("s"):
            return number(0)(text[:-1]), None
        return None, whole(1)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f'expected a number of batches ("100") or of seconds ("30s"), got {text!r}'
        ) from None


def _new_folder(name: str) -> Path:
    import time

    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
