"""`kseg check-data`."""

from __future__ import annotations

import sys
from pathlib import Path

from .arguments import mask_values, whole, whole_or_none
from .errors import CliError, no_folder
from .tasks import TASKS

HELP = "look for problems in a data folder"
DESCRIPTION = (
    "Read every image and mask of a data folder, or every image and annotation of one in COCO's format, and report "
    "sizes, classes and problems. Exit code 2 if there are any."
)


def add_arguments(parser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "data",
        metavar="DIR",
        help="folder with images and masks, or images and instances.json, or with train and val that hold them; or a "
        ".json file in COCO's format",
    )
    parser.add_argument(
        "--task",
        choices=tuple(TASKS),
        help="what is to be learned from a folder: semantic, from its masks, or instance, from its annotations; "
        "default instance where there are annotations in COCO's format and no masks",
    )
    parser.add_argument(
        "--images", metavar="DIR", help='images of a COCO file; default the folder "images" beside it, or its own'
    )
    parser.add_argument(
        "--num-classes", type=whole(1, 65536), metavar="C", help="number of classes; default as the masks hold"
    )
    parser.add_argument("--ignore-index", type=whole_or_none, default=255, metavar="I",
                        help='mask value that is not counted, or "none" (default 255)')  # fmt: skip
    parser.add_argument("--mask-suffix", default="", metavar="TEXT", help="what mask names have after the image's name")
    parser.add_argument(
        "--mask-values", type=mask_values, metavar="V=C,...", help="classes of the masks' values: 0=0,255=1"
    )


def run(arguments) -> int:
    """Checks."""
    root = Path(arguments.data)
    if root.suffix.lower() == ".json" and root.is_file():
        beside = root.parent / "images"
        return _check_coco([(arguments.images or (beside if beside.is_dir() else root.parent), root)], arguments)
    if arguments.images is not None:
        raise CliError(f"--images: expected together with a .json file in COCO's format, got {root}.")
    if not root.is_dir():
        raise CliError(f"DIR: expected a data folder, got {root}, {no_folder(root)}.")

    from .quiet import import_tensorflow

    import_tensorflow()
    from kseg.data.coco import coco_parts
    from kseg.training.semantic_task import folder_reports

    if arguments.task == "instance" or (arguments.task is None and has_objects_only(root)):
        return _check_coco(coco_parts(root), arguments)
    problems = 0
    for part, report in folder_reports(root, arguments, strict=False):
        sys.stdout.write(f"{part}\n{report}\n")
        problems += len(report.problems)
    return _exit_code(problems, root)


def _check_coco(parts: list[tuple[str | Path, Path]], arguments) -> int:
    """Checks pairs of a folder of images and an annotation file."""
    for option in ("num_classes", "mask_suffix", "mask_values"):
        if getattr(arguments, option):
            raise CliError(
                f"--{option.replace('_', '-')}: expected together with a folder of masks, got {arguments.data}."
            )

    from .quiet import import_tensorflow

    import_tensorflow()
    from kseg.data import check_coco

    problems = 0
    for images, path in parts:
        report = check_coco(images, path, strict=False)
        sys.stdout.write(f"{path}\n{report}\n")
        problems += len(report.problems)
    return _exit_code(problems, arguments.data)


def has_objects_only(root: Path) -> bool:
    """Whether a data folder holds annotations in COCO's format, and no masks."""
    from kseg.data.coco import is_coco_folder
    from kseg.training.semantic_task import data_parts

    return is_coco_folder(root) and not any((part / "masks").is_dir() for part in data_parts(root))


def _exit_code(problems: int, where: str | Path) -> int:
    if problems:
        sys.stderr.write(
            f"kseg check-data: {problems} problem{'s' if problems > 1 else ''} in {where}, listed above.\n"
        )
    return 2 if problems else 0
