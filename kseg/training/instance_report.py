"""The report of a run that learned to find objects, and the pictures of it and of `kseg evaluate`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kseg import viz
from kseg.viz.instances_overlay import best_zoom

from .coco_evaluation_report import write_coco_evaluation
from .instance_evaluation import InstanceEvaluation, find_objects
from .progress import duration
from .run_config import RunConfig
from .run_folder import RunFolder
from .run_report import about_run, training_facts, write_ranked

# Detections of a lower score are not drawn.
_DRAWN = 0.5


def write_instance_report(
    folder: RunFolder,
    config: RunConfig,
    facts: dict,
    model,
    source,
    evaluation: InstanceEvaluation,
    history: list[dict],
    best_epoch: int | None,
) -> None:
    """Writes metrics.json, the figures, the overlays and report.html.

    Args:
        folder: The run folder.
        config: Settings of the run.
        facts: Facts of the run.
        model: The best model.
        source: The images that were evaluated.
        evaluation: The figures of the best model.
        history: One mapping per epoch.
        best_epoch: Epoch of the best model, from 1.
    """
    training = training_facts(history, best_epoch)
    viz.curves_figure(history, folder.curves, monitor="AP", best_epoch=best_epoch)
    write_coco_evaluation(
        folder.path,
        evaluation.reports,
        metrics=evaluation.to_dict() | training,
        more_figures=[(duration(training["training_seconds"]), "training time")],
        pictures=write_object_overlays(folder.overlays, model, source, evaluation, facts["sides"]),
        curves=folder.curves,
        **about_run(config, facts, history, best_epoch, len(source)),
    )


def write_object_overlays(folder: Path, model, source, evaluation: InstanceEvaluation, sides) -> list[tuple[Path, str]]:
    """Draws the worst images and some others, the objects that are there beside those that were found.

    Args:
        folder: Folder of the pictures; replaced.
        model: A detector.
        source: The source that was evaluated.
        evaluation: Its figures.
        sides: See `evaluate_instances`.

    Returns:
        Picture files with captions, worst first.
    """

    def draw(index):
        image, truth = source.load(index)
        zoom = best_zoom(truth.size)
        found = find_objects(model, image, sides, _DRAWN).plot(zoom=zoom)
        names = None  # of one class they would only cover the picture
        if source.num_classes > 1:
            names = [str(one) if source.class_names is None else source.class_names[one] for one in truth.classes]
        true = viz.instances_overlay(image, truth.boxes, _Unpacked(truth), names, contour_width=None, zoom=zoom)
        return np.concatenate([true, np.full_like(true[:, :4], 255), found], axis=1)

    return write_ranked(folder, evaluation.images, draw, "AP (left: truth, right: found)")


class _Unpacked:
    """The masks of objects one after the other."""

    def __init__(self, instances):
        self.instances = instances

    def __len__(self):
        return len(self.instances)

    def __getitem__(self, index):
        width = self.instances.size[1]
        return np.unpackbits(self.instances.masks[index], axis=-1, count=width, bitorder="little")
