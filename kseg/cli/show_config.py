"""`kseg show-config`."""

from __future__ import annotations

HELP = "print versions, native ops, instruction set, devices"
DESCRIPTION = (
    "Print what kseg found: versions, which ops are native, the instruction set in use, threads, devices, XLA."
)


def add_arguments(parser) -> None:
    """Adds the arguments: none."""


def run(arguments) -> int:
    """Prints."""
    from .quiet import import_tensorflow

    import_tensorflow()
    import kseg

    kseg.show_config()
    return 0
