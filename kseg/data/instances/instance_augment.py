"""Random changes of an image and its objects, in step."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from kseg.data import hashing
from kseg.data.argument_checks import check_number, check_scale
from kseg.data.instances.copy_paste import copy_paste
from kseg.data.instances.instances import Instances
from kseg.data.instances.placement import Placement

# Which of a sample's random numbers is used for what. Fixed, so that switching one change on leaves the draws of the
# others alone. The geometry of the image that objects are copied from has a block of its own.
_GEOMETRY, _OTHER_GEOMETRY = 0, 8
_FLIP_V, _FLIP_H, _SCALE, _TOP, _LEFT = range(5)
_PASTE, _WHICH, _BRIGHTNESS, _CONTRAST = range(16, 20)
_DRAWS = 24
_SUBSET_STREAM = 1


class InstanceAugment:
    """Flips, scales and crops an image with its objects, pastes objects of other images, and changes the light.

    All geometry is one resampling: images bilinear (with antialiasing where they shrink), masks by the nearest pixel,
    and boxes anew from the masks. Objects of which nothing is left vanish. What is larger than the canvas is cropped at
    random; what is smaller lies in its upper left corner, and the rest is padding.

    The result is a pure function of (image, instances, seed), and of the other image where objects are pasted.

    Large-scale jitter is `scale=(0.1, 2.0)`; copy-paste is meant to go with it (Ghiasi et al. 2021, "Simple Copy-Paste
    is a Strong Data Augmentation Method for Instance Segmentation"). Their standard jitter is `scale=(0.8, 1.25)`.

    Args:
        flip: "horizontal" (left and right), "vertical", "both" (or True), None; each with probability 1/2.
        scale: the size at which the image fills the canvas, times a factor drawn uniformly: a pair gives the lowest
            and highest, a number s is 1/(1+s)..1+s.
        copy_paste: probability, 0..1, that objects of another random image, flipped and scaled on its own, are laid
            over this one. Each of them is taken with probability 1/2; crowd regions are not.
        brightness: b adds -b..b, as a part of `input_range`'s width.
        contrast: c multiplies the distance from the image's mean by 1-c..1+c.
        input_range: range of the sensor; results of brightness and contrast are cut to it. None takes the source's in
            `kseg.data.instance_pipeline`, otherwise (0, 255).

    Raises:
        ValueError: an argument out of its range, named.

    Example:
        >>> augment = kseg.data.InstanceAugment(flip="horizontal", scale=(0.1, 2.0), copy_paste=0.5)
        >>> train = kseg.data.from_coco("train2017", "instances_train2017.json", 2, augment=augment, shuffle=True)
    """

    def __init__(
        self,
        *,
        flip: str | bool | None = None,
        scale: float | tuple[float, float] = 0.0,
        copy_paste: float = 0.0,
        brightness: float = 0.0,
        contrast: float = 0.0,
        input_range: tuple[float, float] | None = None,
    ):
        if flip not in ("horizontal", "vertical", "both", True, False, None):
            raise ValueError(f"flip must be 'horizontal', 'vertical', 'both' or None, got {flip!r}")
        check_scale(scale)
        check_number("copy_paste", copy_paste, 0, 1)
        check_number("brightness", brightness, 0, math.inf)
        check_number("contrast", contrast, 0, 1)
        self.flip, self.scale, self.copy_paste = flip, scale, copy_paste
        self.brightness, self.contrast, self.input_range = brightness, contrast, input_range

    def get_config(self) -> dict:
        """The constructor's arguments, ready for JSON; `InstanceAugment(**config)` builds the same one."""
        return {
            "flip": self.flip,
            "scale": list(self.scale) if isinstance(self.scale, (tuple, list)) else self.scale,
            "copy_paste": self.copy_paste,
            "brightness": self.brightness,
            "contrast": self.contrast,
            "input_range": None if self.input_range is None else list(self.input_range),
        }

    @classmethod
    def from_config(cls, config: dict) -> InstanceAugment:
        """The inverse of `get_config`."""
        return cls(**config)

    def __repr__(self) -> str:
        default = InstanceAugment().get_config()
        changed = {name: value for name, value in self.get_config().items() if value != default[name]}
        return f"InstanceAugment({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def __call__(
        self,
        image: np.ndarray,
        instances: Instances,
        seed,
        *,
        size: tuple[int, int] | None = None,
        fit: Callable | None = None,
        other: Callable | None = None,
        fill: float = 0.0,
        input_range: tuple[float, float] = (0, 255),
    ) -> tuple[np.ndarray, Instances, tuple[int, int]]:
        """Changes one sample.

        Args:
            image: uint8 or float32 `(H, W, C)`.
            instances: its objects.
            seed: two integers; the same seed makes the same change.
            size: height and width of the canvas; None takes the image's.
            fit: `(height, width) -> factor` by which an image is resized before `scale`. None: so that it just fits.
            other: `(number) -> (image, instances)`, for copy-paste: another sample, chosen by a number from 0 to below
                1. None: nothing is pasted.
            fill: value of the padding.
            input_range: where the constructor left it open.

        Returns:
            The image on the canvas, the objects on it, and height and width of its valid part; the rest, below and to
            the right, is padding. An object pasted beyond the edge of a small image enlarges the valid part.
        """
        canvas = instances.size if size is None else size
        fit = (lambda of: min(canvas[0] / of[0], canvas[1] / of[1])) if fit is None else fit
        draws = hashing.uniforms(seed, _DRAWS)
        place = self._placement(instances.size, canvas, fit, draws[_GEOMETRY:])
        image, instances, valid = place.image(image, fill), place.instances(instances), place.size
        if other is not None and draws[_PASTE] < self.copy_paste:
            other_image, pasted = other(draws[_WHICH])
            chosen = hashing.uniforms(seed, len(pasted), _SUBSET_STREAM) < 0.5
            place = self._placement(pasted.size, canvas, fit, draws[_OTHER_GEOMETRY:])
            pasted = place.instances(pasted.take(chosen & ~pasted.crowd))
            image, instances = copy_paste(image, instances, place.image(other_image, fill), pasted)
            if len(pasted):
                far_x, far_y = pasted.boxes[:, 2:].max(axis=0).tolist()
                valid = max(valid[0], far_y), max(valid[1], far_x)
        if self.brightness or self.contrast:
            part = image[: valid[0], : valid[1]]
            part[:] = self._light(part, draws, input_range if self.input_range is None else self.input_range)
        return image, instances, valid

    def _placement(self, size, canvas, fit: Callable, draws: np.ndarray) -> Placement:
        low, high = self.scale if isinstance(self.scale, (tuple, list)) else (1 / (1 + self.scale), 1 + self.scale)
        factor = fit(size) * (low + (high - low) * draws[_SCALE])
        flip = (
            self.flip in ("vertical", "both", True) and draws[_FLIP_V] < 0.5,
            self.flip in ("horizontal", "both", True) and draws[_FLIP_H] < 0.5,
        )
        return Placement.scaled(size, factor, canvas, flip, (draws[_TOP], draws[_LEFT]))

    def _light(self, image: np.ndarray, draws: np.ndarray, input_range) -> np.ndarray:
        low, high = input_range
        mean = image.mean(dtype=np.float64)
        values = np.arange(256) if image.dtype == np.uint8 else image  # of bytes, a table is enough
        values = (values - mean) * (1 + self.contrast * (2 * draws[_CONTRAST] - 1)) + mean
        values = np.clip(values + self.brightness * (2 * draws[_BRIGHTNESS] - 1) * (high - low), low, high)
        return np.rint(values).astype(np.uint8)[image] if image.dtype == np.uint8 else values.astype(np.float32)
