"""`kseg evaluate --coco-results`: detections in COCO's format, without a model."""

from __future__ import annotations

from pathlib import Path

from .errors import CliError

IOU_TYPES = ("box", "mask", "boundary")


def add_arguments(parser) -> None:
    """Adds the arguments."""
    group = parser.add_argument_group("detections in COCO's format, instead of RUN_OR_MODEL")
    group.add_argument("--coco-results", metavar="JSON", help="file of detections in COCO's result format")
    group.add_argument("--coco-annotations", metavar="JSON", help="file of the true objects in COCO's format")
    group.add_argument(
        "--iou-type",
        nargs="+",
        choices=IOU_TYPES,
        metavar="TYPE",
        help="what is compared: box, mask, boundary; default mask, or box if the detections have no masks",
    )


def run(arguments) -> int:
    """Evaluates."""
    if arguments.model is not None:
        raise CliError(f"--coco-results: expected without a model, got {arguments.model}.")
    for option in ("coco_results", "coco_annotations"):
        path, name = getattr(arguments, option), option.replace("_", "-")
        if path is None:
            raise CliError(f"--{name}: expected a JSON file beside the other --coco option, got nothing.")
        if not Path(path).is_file():
            raise CliError(f"--{name}: expected a JSON file, got {path}, which is none.")

    from .quiet import import_tensorflow

    import_tensorflow()
    from rich.console import Console

    from kseg.metrics import CocoEvaluator

    from .tables import detection_table

    results = _read(arguments.coco_results)
    types = arguments.iou_type or [_type_of(results)]
    evaluator = CocoEvaluator.from_coco(arguments.coco_annotations, results, types)
    reports = [evaluator.report(one) for one in types]
    console = Console()
    for report in reports:
        console.print(detection_table(report))
    if arguments.out:
        from kseg.training.coco_evaluation_report import write_coco_evaluation

        name = Path(arguments.coco_results).name
        path = write_coco_evaluation(arguments.out, reports, title=f"{name}, evaluated")
        console.print(f"Results:  {path}", highlight=False, soft_wrap=True)
    return 0


def _read(path):
    from kseg.metrics.coco_files import load_json

    return load_json("--coco-results", path)


def _type_of(results) -> str:
    """Masks if the first detection has one."""
    first = results[0] if isinstance(results, list) and results else {}
    return "mask" if not isinstance(first, dict) or "segmentation" in first or "bbox" not in first else "box"
