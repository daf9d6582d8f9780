"""`kseg export`."""

from __future__ import annotations

from pathlib import Path

from . import models
from .arguments import whole
from .errors import CliError

HELP = "write a SavedModel for serving"
DESCRIPTION = (
    "Export a model as a SavedModel with signatures for raw uint8 batches, encoded JPEG or PNG, and floats. It holds "
    "stock TensorFlow ops only, unless --ops native is given."
)


def add_arguments(parser) -> None:
    """Adds the arguments."""
    parser.add_argument("model", metavar="RUN_OR_MODEL", help=models.HELP)
    parser.add_argument("out", metavar="OUT", help="folder to write")
    parser.add_argument(
        "--ops", choices=("reference", "native"), default="reference", help="which ops (default reference)"
    )
    parser.add_argument(
        "--size",
        type=whole(1),
        nargs=2,
        metavar=("H", "W"),
        help="size at which the model is to work; images may have any",
    )


def run(arguments) -> int:
    """Exports."""
    models.find_model(arguments.model)
    out = Path(arguments.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CliError(f"OUT: expected a folder that does not exist or is empty, got {out}.")

    from .quiet import import_tensorflow

    import_tensorflow()
    from rich.console import Console

    import kseg

    model = models.load_model(arguments.model)
    kseg.export(model, out, ops=arguments.ops, size=None if arguments.size is None else tuple(arguments.size))
    Console().print(f"Exported to {out}", highlight=False, soft_wrap=True, markup=False)
    return 0
