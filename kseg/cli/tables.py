"""Tables for the terminal."""

from __future__ import annotations


def tables(evaluation) -> list:
    """The rich tables of a `kseg.training.evaluation.Evaluation` or `InstanceEvaluation`."""
    from kseg.training.instance_evaluation import InstanceEvaluation

    if isinstance(evaluation, InstanceEvaluation):
        return [detection_table(report) for report in evaluation.reports]
    return [class_table(evaluation)]


def class_table(evaluation):
    """A rich table of the figures per class and their means.

    Args:
        evaluation: `kseg.training.evaluation.Evaluation`.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class", overflow="fold")
    columns = [
        ("IoU", evaluation.iou, evaluation.mean_iou),
        ("Dice", evaluation.dice, evaluation.mean_dice),
        ("precision", evaluation.precision, evaluation.mean_precision),
        ("recall", evaluation.recall, evaluation.mean_recall),
        *((extra.title, extra.classes, extra.value) for extra in evaluation.extras if extra.classes is not None),
    ]
    for title in (*(title for title, _, _ in columns), "true pixels"):
        # Broken here: where rich wraps a head, it may cut words and figures.
        table.add_column(title.replace(" ", "\n"), justify="right", no_wrap=True)
    pixels = evaluation.confusion.sum(axis=1)
    for index, name in enumerate(evaluation.class_names):
        table.add_row(name, *(_figure(values[index]) for _, values, _ in columns), f"{int(pixels[index]):,}")
    table.add_section()
    table.add_row("mean", *(_figure(mean) for _, _, mean in columns), f"{int(pixels.sum()):,}")
    single = [
        ("pixel accuracy", evaluation.pixel_accuracy),
        ("frequency-weighted IoU", evaluation.frequency_weighted_iou),
        *((extra.title, extra.value) for extra in evaluation.extras if extra.classes is None),
    ]
    table.caption = ", ".join(f"{title} {_figure(value)}" for title, value in single)
    table.caption_justify = "left"
    return table


def detection_table(report):
    """A rich table of average precision and recall per class, the other figures below.

    Args:
        report: `kseg.metrics.CocoReport`.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", title=report.iou_type, title_justify="left")
    # The others would not fit beside: they stand below.
    last = [name for name in report.figures if name.removeprefix("AR").isdigit()][-1]
    columns = [name for name in report.figures if name in ("AP", "AP50", "AP75", last)]
    table.add_column("class")
    for title in (*columns, "objects"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in report.classes:
        table.add_row(row["name"], *(_detection_figure(row[name]) for name in columns), f"{row['objects']:,}")
    table.add_section()
    total = sum(row["objects"] for row in report.classes)
    table.add_row("all", *(_detection_figure(report.figures[name]) for name in columns), f"{total:,}")
    rest = [name for name in report.figures if name not in columns]
    table.caption = ", ".join(f"{name.replace('_', ' ')} {_detection_figure(report.figures[name])}" for name in rest)
    table.caption_justify = "left"
    return table


def _detection_figure(value) -> str:
    return "-" if value == -1 else f"{value:.3f}"


def _figure(value) -> str:
    return "-" if value != value else f"{value:.4f}"
