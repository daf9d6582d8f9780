"""`kseg check-data`."""

from __future__ import annotations

import sys
from pathlib import Path

from .arguments import mask_values, whole, whole_or_none
from .errors import CliError, no_folder

HELP = "look for problems in a data folder"
DESCRIPTION = (
    "Read every image and mask of a data folder, or every image and annotation of a COCO file, and report sizes, "
    "classes and problems. Exit code 2 if there are any."
)


def add_arguments(parser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "data",
        metavar="DIR",
        help="folder with images and masks, or with train and val that hold them; or a .json file in COCO's format",
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
        return _check_coco(root, arguments)
    if arguments.images is not None:
        raise CliError(f"--images: expected together with a .json file in COCO's format, got {root}.")
    if not root.is_dir():
        raise CliError(f"DIR: expected a data folder, got {root}, {no_folder(root)}.")

    from .quiet import import_tensorflow

    import_tensorflow()
    from kseg.training.semantic_task import folder_reports

    problems = 0
    for part, report in folder_reports(root, arguments, strict=False):
        sys.stdout.write(f"{part}\n{report}\n")
        problems += len(report.problems)
    return _exit_code(problems, root)


def _check_coco(path: Path, arguments) -> int:
    for option in ("num_classes", "mask_suffix", "mask_values"):
        if getattr(arguments, option):
            raise CliError(f"--{option.replace('_', '-')}: expected together with a folder of masks, got {path}.")
    beside = path.parent / "images"
    images = arguments.images or (beside if beside.is_dir() else path.parent)

    from .quiet import import_tensorflow

    import_tensorflow()
    from kseg.data import check_coco

    report = check_coco(images, path, strict=False)
    sys.stdout.write(f"{path}\n{report}\n")
    return _exit_code(len(report.problems), path)


def _exit_code(problems: int, where: Path) -> int:
    if problems:
        sys.stderr.write(
            f"kseg check-data: {problems} problem{'s' if problems > 1 else ''} in {where}, listed above.\n"
        )
    return 2 if problems else 0
