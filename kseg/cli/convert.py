"""`kseg convert`."""

from __future__ import annotations

from pathlib import Path

from . import architectures
from .arguments import whole, whole_or_none
from .errors import CliError

HELP = "turn published PyTorch weights into a Keras model"
DESCRIPTION = (
    "Build a model in its published form, load a state dictionary of torchvision or of segmentation-models-pytorch "
    "into it (.safetensors, or .pth, which needs torch), and write it as a .keras file, or its weights alone as a "
    ".weights.h5 file. Whose weights they are is recognised."
)
SUFFIXES = (".keras", ".weights.h5")


def add_arguments(parser) -> None:
    """Adds the arguments."""
    parser.add_argument("checkpoint", metavar="IN", help="state dictionary: .safetensors, .pth or .pt")
    parser.add_argument("out", metavar="OUT", help="file to write: .keras or .weights.h5")
    parser.add_argument(
        "--model",
        required=True,
        choices=architectures.PUBLISHED_MODELS,
        help="architecture; deeplabv3 in torchvision's form or in that of segmentation-models-pytorch, as the "
        "checkpoint needs",
    )
    parser.add_argument(
        "--backbone", choices=architectures.PUBLISHED_BACKBONES, help="backbone; default that of the published model"
    )
    parser.add_argument("--num-classes", type=whole(1, 65536), metavar="C", required=True, help="number of classes")
    parser.add_argument(
        "--output-stride", type=int, choices=(8, 16, 32), help="of the backbone; default the published model's"
    )
    parser.add_argument("--auxiliary", action="store_true", help="with the auxiliary head (fcn, deeplabv3)")
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="NAME",
        help="tensors to leave out, by the beginning of their names, such as aux_classifier; may be given repeatedly",
    )
    parser.add_argument("--ignore-index", type=whole_or_none, default=255, metavar="I",
                        help='label of void pixels, or "none" (default 255)')  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")


def run(arguments) -> int:
    """Converts."""
    out = Path(arguments.out)
    if not out.name.endswith(SUFFIXES):
        raise CliError(f"OUT: expected a file named .keras or .weights.h5, got {out}.")
    if out.exists() and not (arguments.overwrite and out.is_file()):
        raise CliError(f"OUT: {out} exists already; choose another name or give --overwrite.")
    if not out.parent.is_dir():
        raise CliError(f"OUT: expected a file in a folder that exists, got {out}.")
    architectures.check(arguments)

    from .quiet import import_tensorflow

    import_tensorflow()
    from rich.console import Console

    import kseg

    model = architectures.build(arguments, kseg.weights.source_of(arguments.checkpoint))
    report = kseg.weights.load(model, arguments.checkpoint, skip=arguments.skip)
    (model.save if out.suffix == ".keras" else model.save_weights)(out)
    Console().print(f"{report}\nWrote {out}", highlight=False, soft_wrap=True, markup=False)
    return 0
