"""Objects in image files and folders of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from kseg.data import DataError, read_image
from kseg.inference.detections import Detections
from kseg.inference.file_result import FileResult
from kseg.inference.predict_files import check_targets, list_images, sentence, write_beside
from kseg.inference.predict_instances import predict_instances
from kseg.viz.instances_overlay import best_zoom

RESULTS = "detections.json"


def detect_files(
    model,
    paths: str | os.PathLike | Iterable[str | os.PathLike],
    out_dir: str | os.PathLike,
    score_threshold: float = 0.5,
    *,
    result_threshold: float = 0.0,
    shorter_side: int | None = None,
    longer_side: int | None = 1333,
    overlay: bool = True,
    category_ids: Sequence[int] | None = None,
    image_ids: Mapping[str, int] | None = None,
    on_result: Callable[[FileResult], None] | None = None,
) -> list[FileResult]:
    """Finds the objects of image files and writes them into a folder.

    For `nuts.jpg` it writes `nuts_overlay.png`, the image with contours, labels and scores, magnified where neither
    side exceeds 256 pixels; and for all images together `detections.json`, in COCO's format of results, which
    `kseg.metrics.CocoEvaluator.from_coco` reads.

    A file that cannot be read or does not fit the model gets a result with `error` set, and the others continue.

    Args:
        model: as for `kseg.predict_instances`.
        paths: a file, a folder (its images, not those of folders within), or several of either.
        out_dir: folder for the results; made if missing. Existing results in it are replaced.
        score_threshold: objects of a lower score are not drawn.
        result_threshold: objects of a lower score are not in `detections.json`. Average precision wants all.
        shorter_side: as for `kseg.predict_instances`.
        longer_side: as for `kseg.predict_instances`.
        overlay: whether to draw.
        category_ids: COCO's id of each class; None: 1, 2, ...
        image_ids: COCO's ids of images by the names of their files; None: 1, 2, ... in the order of `paths`. The
            entries have the `file_name`, too.
        on_result: called with each result as soon as it is there.

    Returns:
        One `FileResult` per image, in the order of `paths` (folders sorted by name), with `objects` set.

    Raises:
        FileNotFoundError: a path that does not exist.
        TypeError: another model.
        ValueError: no images; two that would write the same results; a result that would overwrite its own input; an
            image that `image_ids` lacks; category ids of another number than classes; options as for
            `kseg.predict_instances`.

    Example:
        >>> results = kseg.inference.detect_files(model, "nuts", "found", 0.7)  # doctest: +SKIP
        >>> results[0].objects  # doctest: +SKIP
        12
    """
    out_dir = Path(out_dir)
    sources = list_images(paths)
    ids = _image_ids(sources, image_ids)
    category_ids = range(1, model.num_classes + 1) if category_ids is None else category_ids
    if len(category_ids) != model.num_classes:
        raise ValueError(f"category_ids must hold {model.num_classes}, one per class; got {len(category_ids)}")
    pictures = [out_dir / f"{source.stem}_overlay.png" for source in sources] if overlay else [None] * len(sources)
    check_targets(
        [(source, [] if picture is None else [picture]) for source, picture in zip(sources, pictures, strict=True)]
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    sides = {"shorter_side": shorter_side, "longer_side": longer_side}
    entries, results = [], []
    for source, image_id, picture in zip(sources, ids, pictures, strict=True):
        try:
            image = read_image(source, channels=model.backbone.input_shape[-1])
            found = predict_instances(model, image, min(score_threshold, result_threshold), **sides)
            listed = above(found, result_threshold)
            entries += coco_entries(listed, image_id, category_ids, source.name)
            if picture is not None:
                drawn = above(found, score_threshold).plot(zoom=best_zoom(found.image_size))
                write_beside(picture, lambda path, drawn=drawn: Image.fromarray(drawn).save(path, format="PNG"))
            result = FileResult(
                source, overlay=picture, size=found.image_size, objects=len(above(found, score_threshold))
            )
        except (DataError, OSError, ValueError, TypeError, tf.errors.OpError) as error:
            result = FileResult(source, error=sentence(source, error))
        results.append(result)
        if on_result is not None:
            on_result(result)
    write_beside(out_dir / RESULTS, lambda path: path.write_text(json.dumps(entries) + "\n", encoding="utf-8"))
    return results


def above(found: Detections, score: float) -> Detections:
    """The detections of at least a score."""
    kept = found.scores >= score
    arrays = {name: getattr(found, name)[kept] for name in ("boxes", "classes", "scores")}
    crops = None if found.crops is None else found.crops[kept]
    rest = {name: getattr(found, name) for name in ("image", "class_names", "mask_threshold", "paste_mode")}
    return Detections(**arrays, crops=crops, **rest)


def coco_entries(found: Detections, image_id: int, category_ids: Sequence[int], file_name: str) -> list[dict]:
    """Detections in COCO's format of results, ready for JSON."""
    corners = found.boxes.astype(np.float64)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    entries = [
        {
            "image_id": int(image_id),
            "category_id": int(category_ids[one]),
            "bbox": [round(value, 3) for value in box],
            "score": float(score),
            "file_name": file_name,
        }
        for one, box, score in zip(found.classes.tolist(), boxes.tolist(), found.scores, strict=True)
    ]
    if found.crops is not None:
        for entry, mask in zip(entries, found.rle(), strict=True):
            counts = mask["counts"]
            entry["segmentation"] = {
                "size": [int(side) for side in mask["size"]],
                "counts": counts.decode("ascii") if isinstance(counts, bytes) else [int(run) for run in counts],
            }
    return entries


def _image_ids(sources, image_ids):
    if image_ids is None:
        return range(1, len(sources) + 1)
    missing = [source for source in sources if source.name not in image_ids]
    if missing:
        raise ValueError(
            f"image_ids must have every image; {len(missing)} of {len(sources)} are missing, such as {missing[0].name}"
        )
    return [image_ids[source.name] for source in sources]
