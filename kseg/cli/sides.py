"""The size that a detector of objects sees images in."""

from __future__ import annotations

from pathlib import Path

from .arguments import whole
from .errors import CliError


def add_arguments(parser) -> None:
    """Adds the arguments."""
    group = parser.add_argument_group("a model that finds objects")
    group.add_argument(
        "--min-side",
        type=whole(1),
        metavar="PX",
        help="shorter side that images are resized to for the model; default as in its training, or the image's own",
    )
    group.add_argument("--max-side", type=whole(1), metavar="PX", help="longest that the longer side then is")


def sides_of(arguments, path: Path) -> tuple[int | None, int | None]:
    """Shorter and longer side: those given, those of the run that the model at `path` belongs to, or none.

    Raises:
        CliError: One without the other.
    """
    given = (arguments.min_side, arguments.max_side)
    if (given[0] is None) != (given[1] is None):
        missing, other = ("--min-side", "--max-side") if given[0] is None else ("--max-side", "--min-side")
        raise CliError(f"{missing}: expected together with {other}, got {other} alone.")
    if given[0] is not None:
        return given
    return tuple(facts_of(path).get("sides", (None, None)))


def facts_of(path: Path) -> dict:
    """The facts of the run that the model at `path` belongs to; none if it belongs to no run."""
    from kseg.training.run_config import RunConfig

    config = path.parent / "config.json"
    return RunConfig.load(config)[1] if config.is_file() else {}
