"""`kseg evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import evaluate_coco, evaluate_objects, models, sides
from .arguments import mask_values, number, whole_or_none
from .errors import CliError, no_folder

HELP = "figures of a model on labelled images"
DESCRIPTION = (
    "Evaluate a model on whole images: IoU, Dice, precision and recall per class, their means, pixel accuracy, "
    "frequency-weighted IoU and confusion matrix, as a table, metrics.json, pictures and a report. For a model that "
    "finds objects: COCO's average precision and recall of masks and boxes. Or, without a "
    "model, detections in COCO's format: average precision and recall."
)


def add_arguments(parser) -> None:
    """Adds the arguments."""
    parser.add_argument("model", nargs="?", metavar="RUN_OR_MODEL", help=models.HELP)
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="folder with images and masks, or with images and instances.json in COCO's format (of one with train and "
        "val, val); default: the images of the run's own report",
    )
    parser.add_argument(
        "--ignore-index",
        type=whole_or_none,
        default=argparse.SUPPRESS,
        metavar="I",
        help='mask value that is not counted, or "none"; default the model\'s',
    )
    parser.add_argument("--mask-suffix", default="", metavar="TEXT", help="what mask names have after the image's name")
    parser.add_argument(
        "--mask-values", type=mask_values, metavar="V=C,...", help="classes of the masks' values: 0=0,255=1"
    )
    parser.add_argument("--boundary", action="store_true", help="boundary IoU as well")
    parser.add_argument(
        "--surface",
        action="store_true",
        help="95th percentile of the Hausdorff distance (HD95) and average surface distance as well",
    )
    parser.add_argument(
        "--spacing",
        nargs=2,
        type=number(0, open_low=True),
        metavar=("ROWS", "COLUMNS"),
        help="with --surface: how far rows and columns of pixels are apart, such as in millimetres; default 1 1",
    )
    parser.add_argument("--calibration", action="store_true", help="expected calibration error as well")
    sides.add_arguments(parser)
    evaluate_coco.add_arguments(parser)
    parser.add_argument("--out", metavar="DIR", help="folder for the results; default `evaluation` beside the model")


def run(arguments) -> int:
    """Evaluates."""
    if arguments.coco_results is not None or arguments.coco_annotations is not None:
        return evaluate_coco.run(arguments)
    if arguments.model is None:
        raise CliError("RUN_OR_MODEL: expected a run folder or a .keras file (or --coco-results), got nothing.")
    if arguments.spacing is not None and not arguments.surface:
        raise CliError("--spacing: expected together with --surface.")
    path = models.find_model(arguments.model)
    if arguments.data is not None and not Path(arguments.data).is_dir():
        raise CliError(f"--data: expected a folder, got {arguments.data}, {no_folder(arguments.data)}.")
    if arguments.data is None and not (path.parent / "config.json").is_file():
        raise CliError(f"--data: expected a folder with images and masks, got nothing ({path} belongs to no run).")

    from .quiet import import_tensorflow

    import_tensorflow()
    from rich.console import Console

    from kseg.models import FasterRCNN

    from .tables import tables

    model = models.load_model(arguments.model)
    out = Path(arguments.out) if arguments.out else path.parent / "evaluation"
    title = f"{path.parent.name or path.stem}, evaluated"
    work = evaluate_objects.evaluate if isinstance(model, FasterRCNN) else _evaluate
    evaluation = work(arguments, model, path, out, title)
    console = Console()
    console.print(*tables(evaluation), sep="\n")
    console.print(f"Results:  {out / 'report.html'}", highlight=False, soft_wrap=True)
    return 0


def _evaluate(arguments, model, path, out, title):
    from kseg.training.evaluation_report import write_evaluation
    from kseg.training.extra_metrics import extra_metrics
    from kseg.training.run_report import evaluate_source

    source = own_source(path) if arguments.data is None else _folder_source(arguments, model)
    if source.num_classes != model.num_classes:
        raise CliError(f"--data: the masks hold {source.num_classes} classes and the model has {model.num_classes}.")
    extras = extra_metrics(
        source.num_classes,
        source.ignore_index,
        boundary=arguments.boundary,
        surface=arguments.surface,
        spacing=arguments.spacing or 1.0,
        calibration=arguments.calibration,
    )
    evaluation = evaluate_source(model, source, extras=extras)
    write_evaluation(out, evaluation, model, source, title=title)
    return evaluation


def own_source(path):
    """The images that the report of a run is about, by the path of its model."""
    from kseg.training.run_config import RunConfig
    from kseg.training.tasks import task_of

    task = task_of(RunConfig.load(path.parent / "config.json")[0])
    return task.open_judged(task.open_sources()[1])


def _folder_source(arguments, model):
    from kseg.data import FolderSource
    from kseg.training.semantic_task import parse_mask_values

    root = Path(arguments.data)
    if (root / "val").is_dir():
        root = root / "val"
    for part in ("images", "masks"):
        if not (root / part).is_dir():
            raise CliError(f"--data: expected {root} to hold images and masks, got no folder {root / part}.")
    return FolderSource(
        root / "images",
        root / "masks",
        channels=model.input_shape[-1],
        num_classes=model.num_classes,
        ignore_index=getattr(arguments, "ignore_index", model.ignore_index),
        mask_suffix=arguments.mask_suffix,
        mask_values=parse_mask_values(arguments.mask_values),
        class_names=model.class_names,
    )
