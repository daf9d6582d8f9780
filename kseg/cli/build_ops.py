"""`kseg build-ops`."""

from __future__ import annotations

HELP = "compile the ops for the installed TensorFlow"
DESCRIPTION = "Compile the ops for the TensorFlow that is installed now; needed after its minor version changed."


def add_arguments(parser) -> None:
    """Adds the arguments."""
    parser.add_argument("--force", action="store_true", help="compile even if everything is up to date")
    parser.add_argument("--verbose", action="store_true", help="show the compiler's command lines")


def run(arguments) -> int:
    """Compiles."""
    from kseg_ops import build

    flags = [flag for flag, wanted in (("--force", arguments.force), ("--verbose", arguments.verbose)) if wanted]
    return build.main(flags)
