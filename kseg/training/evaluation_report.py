"""The results folder of `kseg evaluate`."""

from __future__ import annotations

from pathlib import Path

from kseg import viz

from .evaluation import Evaluation, write_metrics
from .run_report import NOTES, class_rows, headline, write_overlays


def write_evaluation(folder: str | Path, evaluation: Evaluation, model, source, *, title: str) -> Path:
    """Writes metrics.json, confusion_matrix.png, overlays and report.html.

    Args:
        folder: Folder to write into; created.
        evaluation: The figures.
        model: The model they are of.
        source: The source they were computed on.
        title: Heading of the report.

    Returns:
        The report's path.
    """
    import kseg

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_metrics(folder / "metrics.json", evaluation.to_dict())
    confusion = viz.confusion_figure(evaluation.confusion, folder / "confusion_matrix.png", evaluation.class_names)
    pictures = write_overlays(folder / "overlays", model, source, evaluation)
    return viz.write_report(
        folder / "report.html",
        title=title,
        subtitle=f"{model.name} on {len(source)} labelled images.",
        figures=headline(evaluation, len(source), "images")
        + [(f"{extra.value:.4f}", extra.title) for extra in evaluation.extras],
        per_class=class_rows(evaluation),
        confusion=confusion,
        pictures=pictures,
        notes=NOTES,
        footer=f"kseg {kseg.__version__}",
    )
