"""Tables for the terminal."""

from __future__ import annotations


def class_table(evaluation):
    """A rich table of the figures per class and their means.

    Args:
        evaluation: `kseg.training.evaluation.Evaluation`.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class")
    for name in ("IoU", "Dice", "true pixels"):
        table.add_column(name, justify="right")
    pixels = evaluation.confusion.sum(axis=1)
    for name, iou, dice, count in zip(evaluation.class_names, evaluation.iou, evaluation.dice, pixels, strict=True):
        table.add_row(name, _figure(iou), _figure(dice), f"{int(count):,}")
    table.add_section()
    table.add_row("mean", _figure(evaluation.mean_iou), _figure(evaluation.mean_dice), f"{int(pixels.sum()):,}")
    table.caption = f"pixel accuracy {evaluation.pixel_accuracy:.4f}"
    table.caption_justify = "left"
    return table


def _figure(value) -> str:
    return "-" if value != value else f"{value:.4f}"
