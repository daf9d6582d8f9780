"""`kseg predict`."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import models, predict_objects
from .arguments import numbers, whole
from .errors import CliError

HELP = "segment image files, or find objects in them"
DESCRIPTION = (
    "Segment images of any size and write class maps (pixel value = class), overlays and, on demand, probabilities. "
    "Large images are worked on in tiles with --tile. A model that finds objects writes overlays with contours, "
    "labels and scores, and detections.json in COCO's format of results."
)


def add_arguments(parser) -> None:
    """Adds the arguments."""
    parser.add_argument("model", metavar="RUN_OR_MODEL", help=models.HELP)
    parser.add_argument("images", metavar="IMAGES", nargs="+", help="image files and folders of images")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the results")
    parser.add_argument("--tile", type=whole(16), metavar="PX", help="work in tiles of this side; default whole images")
    parser.add_argument(
        "--overlap", type=whole(0), metavar="PX", help="reach of a tile over its share; default as needed"
    )
    parser.add_argument("--tta", action="store_true", help="average over mirrored images (four times the time)")
    parser.add_argument(
        "--flips", choices=("horizontal", "vertical", "both"), help="average over these mirror images only"
    )
    parser.add_argument(
        "--scales",
        type=numbers(0, 16),
        default=(1.0,),
        metavar="S,S,...",
        help='average over the image at these sizes, such as "0.5,1,1.5"; default 1',
    )
    parser.add_argument(
        "--probabilities", action="store_true", help="also write probabilities (.npy, float32 H x W x C)"
    )
    parser.add_argument(
        "--overlay", action=argparse.BooleanOptionalAction, default=True, help="draw overlays; default yes"
    )
    parser.add_argument("--batch-size", type=whole(1), default=4, metavar="N", help="tiles at once (default 4)")
    predict_objects.add_arguments(parser)


def run(arguments) -> int:
    """Predicts."""
    models.find_model(arguments.model)
    for text in arguments.images:
        if not Path(text).exists():
            raise CliError(f"IMAGES: {text} does not exist; expected image files or folders.")
    if arguments.overlap is not None and arguments.tile is None:
        raise CliError(f"--overlap: expected together with --tile, got --overlap {arguments.overlap} alone.")
    if arguments.tta and arguments.flips:
        raise CliError(f"--flips: --tta contains all flips already, got --flips {arguments.flips} beside it.")

    from .quiet import import_tensorflow

    import_tensorflow()
    import sys

    from rich.console import Console

    from kseg.models import FasterRCNN

    model = models.load_model(arguments.model)
    console = Console(soft_wrap=True, highlight=False)
    work = predict_objects.predict if isinstance(model, FasterRCNN) else _predict

    def tell_error(result):
        sys.stderr.write(f"kseg predict: {result.error}\n")

    results = work(arguments, model, console, tell_error)
    failed = sum(result.error is not None for result in results)
    console.print(f"{len(results) - failed} of {len(results)} images written to {arguments.out}", markup=False)
    return 2 if failed else 0


def _predict(arguments, model, console, tell_error):
    from kseg.inference import predict_files

    predict_objects.check_unused(arguments)

    def tell(result):
        if result.error is None:
            console.print(f"{result.source} -> {result.classes}", markup=False)
            if result.tiling is not None:
                console.print(f"Tiled against untiled, on a crop of it: {result.tiling}", markup=False)
        else:
            tell_error(result)

    return predict_files(
        model,
        arguments.images,
        arguments.out,
        tile=arguments.tile,
        overlap=arguments.overlap,
        tta=arguments.tta,
        batch_size=arguments.batch_size,
        probabilities=arguments.probabilities,
        overlay=arguments.overlay,
        on_result=tell,
        scales=arguments.scales,
        flips=arguments.flips,
    )
