"""The parser and entry point of the `kseg` command. Imports neither TensorFlow nor kseg."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from .arguments import OneLineParser
from .errors import exit_code, one_line

# Command -> module; each has `HELP`, `add_arguments(parser)` and `run(arguments) -> int | None`.
COMMANDS = {
    "demo": "demo",
    "check-data": "check_data",
    "train": "train",
    "evaluate": "evaluate",
    "predict": "predict",
    "export": "export",
    "convert": "convert",
    "benchmark": "benchmark",
    "build-ops": "build_ops",
    "show-config": "show_config",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Arguments without the program's name; default those of the process.

    Returns:
        Exit code: 0; 1 if something failed that the user cannot mend; 2 for bad arguments, files or data; 130 after
        Ctrl-C.
    """
    try:
        arguments = build_parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    if arguments.command is None:
        return _no_command(arguments)
    # TensorFlow greets with a page of log lines; a user who wants them sets this variable.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    before, warnings.formatwarning = warnings.formatwarning, _warning_line
    try:
        return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        sys.stderr.write(f"\nkseg {arguments.command}: interrupted.\n")
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away; nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("KSEG_DEBUG", "") not in ("", "0"):
            raise
        sys.stderr.write(f"kseg {arguments.command}: {one_line(error)}\n")
        return exit_code(error)
    finally:
        warnings.formatwarning = before


def build_parser() -> OneLineParser:
    """Builds the parser with all commands."""
    parser = OneLineParser(
        prog="kseg",
        description="Image segmentation: train, evaluate, predict, export.",
        epilog="`kseg demo` shows all of it in a few minutes. KSEG_DEBUG=1 shows the traceback of an error.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, module_name in COMMANDS.items():
        module = importlib.import_module(f".{module_name}", __package__)
        command = commands.add_parser(name, help=module.HELP, description=module.DESCRIPTION)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _warning_line(message, category, filename, lineno, line=None) -> str:
    """A warning as one line, without the source line that raised it."""
    return f"warning: {message}\n"


def _no_command(arguments) -> int:
    if not arguments.version:
        commands = ", ".join(COMMANDS)
        sys.stderr.write(f"kseg: COMMAND: expected one of {commands}, got nothing. See `kseg --help`.\n")
        return 2
    from importlib.metadata import PackageNotFoundError, version

    try:
        sys.stdout.write(f"kseg {version('kseg')}\n")
    except PackageNotFoundError:
        sys.stdout.write("kseg, run from its sources\n")
    return 0
