"""`kseg predict` with a model that finds objects."""

from __future__ import annotations

from pathlib import Path

from . import models, sides
from .arguments import number
from .errors import CliError

_DEFAULT_SCORE = 0.5
# Attributes of options that only one kind of model has, and their values where they are not given.
_OF_CLASS_MAPS = {"tile": None, "overlap": None, "tta": False, "flips": None, "scales": (1.0,), "probabilities": False}
_OF_OBJECTS = ("score", "coco_annotations", "min_side", "max_side")


def add_arguments(parser) -> None:
    """Adds the arguments."""
    sides.add_arguments(parser)
    parser.add_argument(
        "--score",
        type=number(0, 1),
        metavar="F",
        help=f"objects of a lower score are not drawn (default {_DEFAULT_SCORE}); detections.json has all",
    )
    parser.add_argument(
        "--coco-annotations",
        metavar="JSON",
        help="file in COCO's format that detections.json takes the ids of images and categories from; default 1, 2, "
        "... for images, and the ids of the training data for categories",
    )


def check_unused(arguments) -> None:
    """Refuses the options of objects with a model of class maps."""
    for name in _OF_OBJECTS:
        if getattr(arguments, name) is not None:
            raise CliError(f"{_flag(name)}: expected with a model that finds objects, {arguments.model} finds classes.")


def predict(arguments, model, console, tell_error) -> list:
    """Predicts.

    Args:
        arguments: Namespace of `kseg predict`.
        model: The model.
        console: rich console.
        tell_error: Called with each result that is an error.

    Returns:
        `kseg.inference.FileResult` for each image.
    """
    from kseg.inference import detect_files

    for name, default in _OF_CLASS_MAPS.items():
        if getattr(arguments, name) != default:
            raise CliError(f"{_flag(name)}: expected with a model of class maps, {arguments.model} finds objects.")
    path = models.find_model(arguments.model)
    size = sides.sides_of(arguments, path)
    image_ids, category_ids = None, sides.facts_of(path).get("category_ids")
    if arguments.coco_annotations is not None:
        image_ids, category_ids = _ids(arguments.coco_annotations, model)

    def tell(result):
        if result.error is not None:
            tell_error(result)
        else:
            console.print(f"{result.source}: {result.objects} objects", markup=False)

    return detect_files(
        model,
        arguments.images,
        arguments.out,
        _DEFAULT_SCORE if arguments.score is None else arguments.score,
        shorter_side=size[0],
        longer_side=size[1],
        overlay=arguments.overlay,
        category_ids=category_ids,
        image_ids=image_ids,
        on_result=tell,
    )


def _ids(text, model):
    """Ids of images by file names, and of the model's classes, from an annotation file."""
    from kseg.metrics.coco_files import load_json

    if not Path(text).is_file():
        raise CliError(f"--coco-annotations: expected a JSON file, got {text}, which is none.")
    content = load_json("--coco-annotations", text)
    try:
        images = {Path(image["file_name"]).name: image["id"] for image in content["images"]}
        categories = {category["name"]: category["id"] for category in content["categories"]}
    except (KeyError, TypeError) as error:
        raise CliError(
            f"--coco-annotations: {text} must hold images with file_name and id, and categories with name and id; "
            f"{error} is missing or of another kind."
        ) from error
    if model.class_names is None:
        ids = sorted(categories.values())
    else:
        missing = [name for name in model.class_names if name not in categories]
        if missing:
            raise CliError(f"--coco-annotations: {text} has no category {missing[0]!r}, which the model finds.")
        ids = [categories[name] for name in model.class_names]
    return images, ids


def _flag(name):
    return f"--{name.replace('_', '-')}"
