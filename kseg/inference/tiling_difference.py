"""How far tiled prediction is from the whole image at once, measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kseg.inference.forward import Forward
from kseg.inference.image_input import open_image
from kseg.inference.strips import make_plan, strips, to_classes


@dataclass(frozen=True)
class TilingDifference:
    """What `tiling_difference` found.

    Attributes:
        largest: largest absolute difference of a logit.
        mean: mean absolute difference of the logits.
        logit_std: standard deviation of the untiled logits, the yardstick for the two above.
        changed_pixels: fraction of the pixels, 0 to 1, that get another class.
        exact: whether tile and overlap promise equality up to rounding (`largest / logit_std` below 1e-4).
    """

    largest: float
    mean: float
    logit_std: float
    changed_pixels: float
    exact: bool

    def __str__(self) -> str:
        return (
            f"logits differ by up to {self.largest:.3g} (mean {self.mean:.3g}, standard deviation of the logits "
            f"{self.logit_std:.3g}); {self.changed_pixels:.4%} of the pixels get another class"
        )


def tiling_difference(model, image, tile, overlap=None, batch_size=4) -> TilingDifference:
    """Predicts an image whole and in tiles, and compares.

    For models that look at the whole image (group norm, global pooling), and for overlaps below the receptive field
    radius. The whole image goes through the model at once: pass a crop of what is too large for that.

    Args:
        model: as for `kseg.predict`.
        image: as for `kseg.predict`; one image, not a batch.
        tile: as for `kseg.predict`.
        overlap: as for `kseg.predict`.
        batch_size: as for `kseg.predict`.

    Returns:
        The differences.

    Raises:
        ValueError: as `kseg.predict`; also for a model of fixed input size, which has no untiled result.

    Example:
        >>> print(kseg.inference.tiling_difference(model, image[:1024, :1024], tile=512))  # doctest: +SKIP
        logits differ by up to 0.213 (mean 0.0041, standard deviation of the logits 3.7); 0.0310% of the pixels get
        another class
    """
    forward = Forward(model)
    spec = forward.spec
    image = open_image(image, spec)
    untiled = make_plan(forward, image.shape[:2], None, overlap)
    if len(untiled.rows) * len(untiled.columns) > 1:
        raise ValueError(
            f"image must fit into the model's fixed input size {spec.fixed_size} to be predicted whole; "
            f"got {image.shape[:2]}. Build the model with input_shape=(None, None, channels)."
        )
    plan = make_plan(forward, image.shape[:2], tile, overlap)
    whole = next(strips(forward, image, untiled, batch_size))[1]
    largest, total, changed = 0.0, 0.0, 0
    for first, scores in strips(forward, image, plan, batch_size):
        truth = whole[first : first + len(scores)]
        difference = np.abs(scores - truth)
        largest = max(largest, float(difference.max()))
        total += float(difference.sum(dtype=np.float64))
        changed += int(
            np.count_nonzero(to_classes(scores, spec.class_dtype, False) != to_classes(truth, spec.class_dtype, False))
        )
    pixels = whole.shape[0] * whole.shape[1]
    return TilingDifference(
        largest, total / whole.size, float(whole.std(dtype=np.float64)), changed / pixels, plan.exact
    )
