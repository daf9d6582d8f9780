"""The results folder of an evaluation of detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kseg import viz

from .evaluation import write_metrics

_ENDLESS = 1e10  # COCO's way to say that an area range has no end


def write_coco_evaluation(
    folder: str | Path,
    reports: Sequence,
    *,
    metrics: dict | None = None,
    more_figures: Sequence[tuple[str, str]] = (),
    **of_report,
) -> Path:
    """Writes metrics.json, precision-recall curves and confusion matrices as pictures, and report.html.

    Args:
        folder: Folder to write into; created.
        reports: One `kseg.metrics.CocoReport` per way of comparing objects, at least one.
        metrics: What metrics.json holds; None: the reports.
        more_figures: Further headline figures of the report.
        **of_report: Other arguments of `kseg.viz.write_report`: at least `title`.

    Returns:
        The report's path.
    """
    import kseg

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_metrics(folder / "metrics.json", metrics or {report.iou_type: report.to_dict() for report in reports})
    figures, tables, plots = [], [], []
    for report in reports:
        kind = report.iou_type
        names = [row["name"] for row in report.classes]
        figures += [(_figure(value), f"{kind} {name}") for name, value in list(report.figures.items())[:3]]
        tables.append((f"All figures, {kind}", [_shown(report.figures)]))
        tables.append((f"By size, {kind}", [_shown(_with_range(row)) for row in report.sizes]))
        tables.append((f"Per class, {kind}", [_shown(row) for row in report.classes]))
        curves = viz.precision_recall_figure(
            report.precision, report.recalls, report.iou_thresholds, folder / f"precision_recall_{kind}.png", names
        )
        matrix = viz.confusion_figure(report.confusion, folder / f"confusion_matrix_{kind}.png", [*names, "nothing"])
        plots.append((f"Precision and recall, {kind}", curves, "Beside each curve its mean, the average precision."))
        plots.append(
            (
                f"Confusion matrix, {kind}",
                matrix,
                f"Each row shows as what the objects of one class were detected, in percent of them: at an IoU of at "
                f"least {report.confusion_iou:g}, by detections of a score of at least {report.confusion_score:g}. "
                "Last row: detections of nothing; last column: objects that nothing detects.",
            )
        )
    return viz.write_report(
        folder / "report.html",
        figures=[*figures, *more_figures],
        tables=tables,
        plots=plots,
        notes=[
            "Average precision and recall as COCO's evaluation defines them, over IoU thresholds "
            f"{min(reports[0].iou_thresholds):g} to {max(reports[0].iou_thresholds):g}."
        ],
        **{"footer": f"kseg {kseg.__version__}", **of_report},
    )


def _with_range(row: dict) -> dict:
    """Least and greatest area in one column."""
    rest = {key: value for key, value in row.items() if key not in ("name", "low", "high")}
    high = f"to {row['high']:g}" if row["high"] < _ENDLESS else "and more"
    return {"name": row["name"], "area in pixels": f"{row['low']:g} {high}", **rest}


def _shown(row: dict) -> dict:
    """NaN, which tables show as a dash, for figures without ground truth."""
    return {key: float("nan") if isinstance(value, float) and value == -1 else value for key, value in row.items()}


def _figure(value: float) -> str:
    return "-" if value == -1 else f"{value:.4f}"
