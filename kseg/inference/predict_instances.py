"""`kseg.predict_instances`: the objects of one image."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kseg._class_arguments import is_finite_number
from kseg.inference.detections import Detections
from kseg.inference.image_input import open_image, warn_about_range
from kseg.inference.model_spec import ModelSpec
from kseg.models import FasterRCNN


def predict_instances(
    model, image, score_threshold=0.5, *, mask_threshold=0.5, shorter_side=None, longer_side=1333
) -> Detections:
    """Finds the objects of an image.

    Args:
        model: a `kseg.MaskRCNN` or `kseg.FasterRCNN`.
        image: `(H, W, C)`, or `(H, W)` for one channel, in the model's `input_range`; integers or floats. Or the path
            of an image file.
        score_threshold: objects with a score below it are left out. The model itself leaves out those below its own.
        mask_threshold: pixels with a higher probability belong to a mask.
        shorter_side: the image is resized bilinearly for the model so that this is its shorter side, in pixels; None
            for its own size. Published weights want 800.
        longer_side: the most that its longer side may then have.

    Returns:
        `kseg.inference.Detections`: boxes, classes and scores as arrays, masks as run lengths or dense arrays, and a
        picture; all in pixels of the image as it was given.

    Raises:
        TypeError: another model; an image that does not hold numbers.
        ValueError: an image that does not fit the model; an argument out of range.

    Example:
        >>> found = kseg.predict_instances(model, "nuts.jpg", score_threshold=0.7)
        >>> keras.utils.array_to_img(found.plot()).save("nuts_found.png")
    """
    if not isinstance(model, FasterRCNN):
        raise TypeError(
            f"model must be a kseg.MaskRCNN or kseg.FasterRCNN; got {type(model).__name__}. kseg.predict segments "
            "images with other models"
        )
    for name, value in (("score_threshold", score_threshold), ("mask_threshold", mask_threshold)):
        if not is_finite_number(value) or not 0 <= value <= 1:
            raise ValueError(f"{name} must be a number in 0..1; got {value!r}")
    for name, value in (("shorter_side", shorter_side), ("longer_side", longer_side)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{name} must be a positive int or None; got {value!r}")
    image = open_image(image, ModelSpec.of_detector(model))
    warn_about_range(image, model.input_range, stacklevel=3)
    given = image if shorter_side is None else _resized(image, shorter_side, longer_side)
    found = {name: value[0] for name, value in model.predict_on_batch(given[None]).items()}
    kept = (found["classes"] >= 0) & (found["scores"] >= score_threshold)
    factors = np.array([image.shape[1] / given.shape[1], image.shape[0] / given.shape[0]] * 2, np.float32)
    return Detections(
        boxes=found["boxes"][kept] * factors,
        classes=found["classes"][kept],
        scores=found["scores"][kept],
        crops=found["masks"][kept] if "masks" in found else None,
        image=image,
        class_names=model.class_names,
        mask_threshold=float(mask_threshold),
        **({"paste_mode": model.paste_mode} if "masks" in found else {}),
    )


def _resized(image, shorter_side, longer_side):
    scale = shorter_side / min(image.shape[:2])
    if longer_side is not None:
        scale = min(scale, longer_side / max(image.shape[:2]))
    size = [max(1, int(side * scale)) for side in image.shape[:2]]
    return tf.image.resize(image, size, "bilinear").numpy()
