"""`kseg evaluate` of a model that finds objects."""

from __future__ import annotations

from . import sides
from .errors import CliError

# Options that ask for figures of class maps, or say how masks are read: by their attributes.
_OF_CLASS_MAPS = ("ignore_index", "mask_suffix", "mask_values", "surface", "spacing", "calibration", "boundary")


def evaluate(arguments, model, path, out, title):
    """Evaluates.

    Args:
        arguments: Namespace of `kseg evaluate`.
        model: The model.
        path: Its file.
        out: Folder for the results.
        title: Heading of the report.

    Returns:
        `kseg.training.instance_evaluation.InstanceEvaluation`.

    Raises:
        CliError: The arguments do not fit the model or the data.
    """
    from kseg.training.coco_evaluation_report import write_coco_evaluation
    from kseg.training.instance_evaluation import evaluate_instances
    from kseg.training.instance_report import write_object_overlays

    from .evaluate import own_source

    for name in _OF_CLASS_MAPS:
        if getattr(arguments, name, None):
            raise CliError(f"--{name.replace('_', '-')}: expected with a model of class maps, {path} finds objects.")
    size = sides.sides_of(arguments, path)
    source = own_source(path) if arguments.data is None else _open(arguments.data, model)
    if source.num_classes != model.num_classes:
        raise CliError(
            f"--data: the annotations have {source.num_classes} classes and the model has {model.num_classes}."
        )
    evaluation = evaluate_instances(model, source, size)
    write_coco_evaluation(
        out,
        evaluation.reports,
        metrics=evaluation.to_dict(),
        pictures=write_object_overlays(out / "overlays", model, source, evaluation, size),
        title=title,
        subtitle=f"{model.name} on {len(source)} annotated images.",
    )
    return evaluation


def _open(folder, model):
    from kseg.data import CocoSource
    from kseg.data.coco.open_coco import coco_parts
    from kseg.models import MaskRCNN

    return CocoSource(
        *coco_parts(folder)[-1],
        channels=model.backbone.input_shape[-1],
        categories=model.class_names,  # in the order of the model's classes, whatever their ids here
        boxes_as_masks=not isinstance(model, MaskRCNN),
    )
