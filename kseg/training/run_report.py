"""Figures, pictures and the report of a run."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from kseg_cli.tasks import TASKS
from PIL import Image

from kseg import viz
from kseg.data.reading import EXTENSIONS

from .architectures import DETECTORS, MODELS
from .evaluation import Evaluation, evaluate, write_metrics
from .progress import duration
from .run_config import RunConfig
from .run_folder import RunFolder

_PLACES = ("Worst", "Second worst", "Third worst", "Fourth worst")
_WORST, _OTHERS = len(_PLACES), 3
# Larger images are predicted in tiles of this side, in pixels.
TILE = 1024


def evaluate_source(model, source, keep=None, extras=()) -> Evaluation:
    """Evaluates a model on whole images of a source, in tiles where they are large.

    Args:
        model: A segmentation model.
        source: A `kseg.data.Source`.
        keep: See `evaluate`.
        extras: See `evaluate`.

    Returns:
        The figures.
    """
    import kseg

    output = "logits" if any(extra.needs_logits for extra in extras) else "classes"

    def predict(image):
        tile = TILE if max(image.shape[:2]) > TILE else None
        return kseg.predict(model, image, tile=tile, output=output)

    return evaluate(
        predict,
        (source.load(index) for index in range(len(source))),
        source.num_classes,
        names=source.names,
        class_names=source.class_names,
        ignore_index=source.ignore_index,
        keep=keep,
        extras=extras,
    )


def write_run_report(
    folder: RunFolder,
    config: RunConfig,
    facts: dict,
    model,
    source,
    history: list[dict],
    best_epoch: int | None,
    *,
    comparison: list[tuple[str, str]] = (),
    notes: list[str] = (),
    extra_metrics: dict | None = None,
) -> Evaluation:
    """Evaluates the best model and writes metrics.json, the figures, the overlays and report.html.

    Args:
        folder: The run folder.
        config: Settings of the run.
        facts: Facts of the run.
        model: The best model.
        source: The images to evaluate on (see `open_judged`).
        history: One mapping per epoch.
        best_epoch: Epoch of the best model, from 1.
        comparison: Other methods for the report, `(name, figure)`.
        notes: Further notes for the report.
        extra_metrics: Further entries of metrics.json.

    Returns:
        The figures.
    """
    evaluation = evaluate_source(model, source)
    training = training_facts(history, best_epoch)
    write_metrics(folder.metrics, evaluation.to_dict() | training | (extra_metrics or {}))
    viz.curves_figure(history, folder.curves, best_epoch=best_epoch)
    viz.confusion_figure(evaluation.confusion, folder.confusion, evaluation.class_names)
    pictures = write_overlays(folder.overlays, model, source, evaluation)
    viz.write_report(
        folder.report,
        figures=headline(evaluation, len(source), "unseen images" if config.data is None else "validation images")
        + [(duration(training["training_seconds"]), "training time")],
        comparison=[("this model, mean IoU", f"{evaluation.mean_iou:.4f}"), *comparison] if comparison else (),
        per_class=class_rows(evaluation),
        curves=folder.curves,
        confusion=folder.confusion,
        pictures=pictures,
        notes=[*notes, *NOTES],
        **about_run(config, facts, history, best_epoch, len(source)),
    )
    return evaluation


def training_facts(history: list[dict], best_epoch: int | None) -> dict:
    """What metrics.json tells about the training."""
    seconds = sum(row["seconds"] for row in history)
    return {"best_epoch": best_epoch, "epochs": len(history), "training_seconds": round(seconds, 3)}


def about_run(config: RunConfig, facts: dict, history: list[dict], best_epoch: int | None, judged: int) -> dict:
    """What a report of any run says: arguments `title`, `subtitle`, `settings` and `footer` of `viz.write_report`.

    Args:
        config: Settings of the run.
        facts: Facts of the run.
        history: One mapping per epoch.
        best_epoch: Epoch of the best model, from 1.
        judged: Number of images that the figures are about.
    """
    name = "generated cells" if config.data is None else Path(config.data).resolve().name
    own = TASKS[config.task].settings
    foreign = {setting for task in TASKS.values() for setting in task.settings} - set(own)
    if config.data is not None:
        foreign |= {"cells_train", "cells_val", "cells_size"}
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in foreign}
    settings["data"] = name
    settings = {key.replace("_", " "): value for key, value in settings.items() if value not in (None, "")}
    settings |= {key: facts[key] for key in ("channels", "classes", "parameters") if key in facts}
    settings |= {f"{package} version": version for package, version in facts.get("versions", {}).items()}
    return {
        "title": f"{(MODELS | DETECTORS)[config.model].title} on {name}",
        "subtitle": f"Trained for {len(history)} epochs on {facts['train_images']} images; the figures are those of "
        f"the best epoch ({best_epoch}) on {judged} images "
        + ("that neither trained the model nor chose the epoch." if config.data is None else _VALIDATED),
        "settings": settings,
        "footer": f"kseg {facts.get('versions', {}).get('kseg', '')} · started {facts.get('started', '')}",
    }


_VALIDATED = "that were not trained on, but chose the epoch: expect slightly less on others."
NOTES = (
    "Figures are counted over all pixels of all images together; void pixels are left out.",
    "A class that appears neither in truth nor in prediction has no IoU and no Dice, and is left out of the means.",
)


def headline(evaluation: Evaluation, images: int, what: str = "validation images") -> list[tuple[str, str]]:
    """The figures at the head of a report."""
    return [
        (f"{evaluation.mean_iou:.4f}", "mean IoU"),
        (f"{evaluation.mean_dice:.4f}", "mean Dice"),
        (f"{100 * evaluation.pixel_accuracy:.2f} %", "pixel accuracy"),
        (f"{images}", what),
    ]


def class_rows(evaluation: Evaluation) -> list[dict]:
    """Rows of the per-class table."""
    pixels = evaluation.confusion.sum(axis=1)
    total = max(int(pixels.sum()), 1)
    rows = [
        {"name": name, "iou": iou, "dice": dice, "pixels": int(count), "share": count / total}
        for name, iou, dice, count in zip(evaluation.class_names, evaluation.iou, evaluation.dice, pixels, strict=True)
    ]
    more = [("precision", evaluation.precision), ("recall", evaluation.recall)]
    more += [(extra.title, extra.classes) for extra in evaluation.extras if extra.classes is not None]
    for index, row in enumerate(rows):
        row["more"] = {title: values[index] for title, values in more}
    return rows


def write_overlays(folder: Path, model, source, evaluation: Evaluation) -> list[tuple[Path, str]]:
    """Draws the worst images and some others.

    Args:
        folder: Folder of the pictures; replaced.
        model: A segmentation model.
        source: The source that was evaluated.
        evaluation: Its figures.

    Returns:
        Picture files with captions, worst first.
    """
    import kseg

    def draw(index):
        image, mask = source.load(index)
        tile = TILE if max(image.shape[:2]) > TILE else None
        return viz.triptych(
            image,
            np.asarray(mask).astype(np.int32),
            kseg.predict(model, image, tile=tile),
            len(evaluation.class_names),
            class_names=evaluation.class_names,
            ignore_index=source.ignore_index,
        )

    return write_ranked(folder, evaluation.images, draw, "mean IoU")


def write_ranked(
    folder: Path, images: list[tuple[str, float]], draw: Callable[[int], np.ndarray], figure: str
) -> list[tuple[Path, str]]:
    """Writes pictures of the worst images and of some others.

    Args:
        folder: Folder of the pictures; replaced.
        images: Name and figure of each image.
        draw: Makes the picture of the image at a position.
        figure: What the figure is called.

    Returns:
        Picture files with captions, worst first.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scores = np.array([score for _, score in images])
    # NaN (an image that is void throughout) sorts last.
    order = np.argsort(scores, kind="stable")
    worst = list(order[:_WORST])
    rest = order[_WORST:]
    others = (
        [rest[position] for position in sorted({*np.linspace(0, len(rest) - 1, _OTHERS).astype(int)})]
        if len(rest)
        else []
    )
    written = []
    for rank, index in enumerate([*worst, *others], start=1):
        index = int(index)
        name = images[index][0]
        kind = "worst" if rank <= len(worst) else "other"
        # Some sources name images by their files, others without the extension.
        stem = Path(name).stem if Path(name).suffix.lower() in EXTENSIONS else Path(name).name
        path = folder / f"{rank:02d}_{kind}_{stem}.png"
        Image.fromarray(draw(index)).save(path, optimize=True)
        place = _PLACES[rank - 1] if kind == "worst" else "For comparison"
        written.append((path, f"{place}: {name}, {figure} {scores[index]:.4f}"))
    return written
