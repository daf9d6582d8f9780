"""Argument types and the parser whose errors fit on one line."""

from __future__ import annotations

import argparse
import re
import shutil
import sys


class OneLineParser(argparse.ArgumentParser):
    """An `ArgumentParser` that reports a mistake as one line on standard error and exits with 2."""

    def __init__(self, *arguments, **options):
        # An abbreviation that is unique today may not be tomorrow.
        options.setdefault("allow_abbrev", False)
        options.setdefault(
            "formatter_class", lambda prog: argparse.HelpFormatter(prog, max_help_position=28, width=_width())
        )
        super().__init__(*arguments, **options)

    def error(self, message):
        message = re.sub(r"^argument ", "", message)
        sys.stderr.write(f"{self.prog}: {message}. See `{self.prog} --help`.\n")
        raise SystemExit(2)


def _width() -> int:
    """Columns of help texts: those of the terminal, within what reads well."""
    return max(60, min(shutil.get_terminal_size().columns - 2, 110))


def whole(least: int, most: int | None = None):
    """An argument type: a whole number from `least` to `most`."""
    expected = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return parse


def number(low: float, high: float = float("inf"), *, open_low: bool = False, open_high: bool = True):
    """An argument type: a finite number between `low` and `high`."""
    expected = f"a number above {low:g}" if open_low else f"a number of at least {low:g}"
    if high != float("inf"):
        expected += f" and below {high:g}"

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        above = value > low if open_low else value >= low
        if not (above and (value < high or (value == high and not open_high and high != float("inf")))):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return parse


def numbers(above: float, most: float):
    """An argument type: different numbers above `above` and at most `most`, separated by commas, as a tuple."""

    def parse(text: str) -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            values = ()
        if not values or len(set(values)) < len(values) or not all(above < value <= most for value in values):
            raise argparse.ArgumentTypeError(
                f"expected different numbers above {above:g} and at most {most:g}, separated by commas, got {text!r}"
            )
        return values

    return parse


def whole_or_none(text: str) -> int | None:
    """An argument type: a whole number, or "none"."""
    if text.lower() == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected a whole number or "none", got {text!r}') from None


def mask_values(text: str) -> str:
    """An argument type: "value=class" pairs, such as "0=0,255=1"; kept as the text."""
    if not re.fullmatch(r"\d+=-?\d+(,\d+=-?\d+)*", text):
        raise argparse.ArgumentTypeError(f'expected value=class pairs such as "0=0,255=1", got {text!r}')
    return text


def sum_of(names: tuple[str, ...]):
    """An argument type: names joined by "+", each with or without a factor, as "a+0.01*b"; kept as the text."""

    def parse(text: str) -> str:
        factor = number(0, open_low=True)
        for term in text.split("+"):
            weight, star, name = term.rpartition("*")
            try:
                known = name in names and (not star or factor(weight))
            except argparse.ArgumentTypeError:
                known = False
            if not known:
                raise argparse.ArgumentTypeError(
                    f"expected one of {', '.join(names)}, or a sum of them such as "
                    f"{names[0]}+{names[1]} or {names[0]}+0.1*{names[1]}, got {text!r}"
                )
        return text

    return parse
