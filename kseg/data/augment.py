"""Random changes of an image and its mask, in step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import tensorflow as tf

from kseg.data.argument_checks import check_number, check_scale
from kseg.data.cropping import CROP, SPLITS, pair_of_sizes, static_or_dynamic, uniform_place
from kseg.data.errors import DataError

# Positions in the split of a sample's seed, beside that of the crop.
_FLIP, _TURN, _ROTATE, _SCALE, _ELASTIC, _, _BRIGHTNESS, _CONTRAST, _NOISE, _NOISE_LEVEL = range(10)


class Augment:
    """Flips, turns, rotates, scales, deforms, crops, and changes brightness, contrast and noise.

    All geometry is one inverse coordinate map, so an image is interpolated once (bilinear) and its mask takes the
    nearest label: masks are never mixed. What comes from outside the image is `ignore_index` in the mask and `fill` in
    the image. Flips, quarter turns and crops are exact: they move pixels without interpolation.

    The result is a pure function of (image, mask, seed), by `tf.random.stateless_*`. That is why this class does not
    wrap Keras's random layers: they draw from a `SeedGenerator` whose state advances with every call, so that a resumed
    run could not repeat them; their masks get 0, a class, where pixels come from outside; and a chain of them
    interpolates once per layer.

    Args:
        flip: "horizontal" (left and right), "vertical", "both" (or True), None; each with probability 1/2.
        rotate: highest angle in degrees, drawn from -rotate..rotate.
        rotate90: quarter turns, 0 to 3 of them. The canvas keeps its shape: crop to a square with images that are none.
        scale: s draws a factor from 1/(1+s)..1+s, log-uniform; a pair gives lowest and highest factor. Above 1
            enlarges.
        elastic: standard deviation in pixels of the random displacements on a coarse grid, interpolated bicubically to
            every pixel (Ronneberger 2015: 10 pixels on a 3x3 grid; after Simard 2003).
        elastic_grid: points per side of that grid.
        crop: height and width in pixels of the result, cut out at random; one integer is a square. Smaller images are
            padded.
        brightness: b adds -b..b, as a part of `input_range`'s width.
        contrast: c multiplies the distance from the image's mean by 1-c..1+c.
        noise: n adds Gaussian noise whose standard deviation is drawn from 0..n, as a part of `input_range`'s width.
        fill: value of image pixels from outside, in `input_range`; or "reflect", which mirrors the image at its edges
            (the mask still says `ignore_index` there).
        input_range: range of the sensor; results of brightness, contrast and noise are cut to it. None takes the
            source's in `kseg.data.pipeline`, otherwise (0, 255).
        ignore_index: label of pixels from outside. None takes the source's in `kseg.data.pipeline`, otherwise 255.

    Raises:
        ValueError: an argument out of its range, named.

    Example:
        >>> augment = kseg.data.Augment(flip="both", rotate=180, elastic=5, brightness=0.1, noise=0.02)
        >>> image, mask = augment(image, mask, seed=tf.constant([0, 1]))
    """

    def __init__(
        self,
        *,
        flip: str | bool | None = None,
        rotate: float = 0.0,
        rotate90: bool = False,
        scale: float | tuple[float, float] = 0.0,
        elastic: float = 0.0,
        elastic_grid: int = 3,
        crop: int | tuple[int, int] | None = None,
        brightness: float = 0.0,
        contrast: float = 0.0,
        noise: float = 0.0,
        fill: float | str = 0.0,
        input_range: tuple[float, float] | None = None,
        ignore_index: int | None = None,
    ):
        if flip not in ("horizontal", "vertical", "both", True, False, None):
            raise ValueError(f"flip must be 'horizontal', 'vertical', 'both' or None, got {flip!r}")
        for name, value in (("rotate", rotate), ("elastic", elastic), ("brightness", brightness), ("noise", noise)):
            check_number(name, value, 0, math.inf)
        check_number("contrast", contrast, 0, 1)
        check_scale(scale)
        if int(elastic_grid) != elastic_grid or elastic_grid < 2:
            raise ValueError(f"elastic_grid must be an integer of at least 2, got {elastic_grid}")
        if isinstance(fill, str) and fill != "reflect":
            raise ValueError(f"fill must be a number or 'reflect', got {fill!r}")
        self.flip, self.rotate, self.rotate90, self.scale = flip, rotate, rotate90, scale
        self.elastic, self.elastic_grid = elastic, elastic_grid
        self.crop = pair_of_sizes("crop", crop)
        self.brightness, self.contrast, self.noise = brightness, contrast, noise
        self.fill, self.input_range, self.ignore_index = fill, input_range, ignore_index
        self._place = uniform_place

    def get_config(self) -> dict:
        """The constructor's arguments, ready for JSON; `Augment(**config)` builds the same one."""
        return {
            "flip": self.flip,
            "rotate": self.rotate,
            "rotate90": self.rotate90,
            "scale": list(self.scale) if isinstance(self.scale, (tuple, list)) else self.scale,
            "elastic": self.elastic,
            "elastic_grid": self.elastic_grid,
            "crop": None if self.crop is None else list(self.crop),
            "brightness": self.brightness,
            "contrast": self.contrast,
            "noise": self.noise,
            "fill": self.fill,
            "input_range": None if self.input_range is None else list(self.input_range),
            "ignore_index": self.ignore_index,
        }

    @classmethod
    def from_config(cls, config: dict) -> Augment:
        """The inverse of `get_config`."""
        return cls(**config)

    def __repr__(self) -> str:
        default = Augment().get_config()
        changed = {name: value for name, value in self.get_config().items() if value != default[name]}
        return f"Augment({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def bind(
        self, input_range, ignore_index: int | None, crop: tuple[int, int] | None = None, place: Callable | None = None
    ) -> Augment:
        """A copy that takes from a source what the constructor left open, and the place of crops from `place`.

        Raises:
            DataError: the source has no ignore label and the geometry brings in pixels from outside.
        """
        bound = copy.copy(self)
        bound.input_range = input_range if self.input_range is None else self.input_range
        bound.crop = self.crop or crop
        bound._place = place or uniform_place
        if self.ignore_index is None:
            if ignore_index is None and (self.rotate or self._scales or self.elastic):
                raise DataError(
                    "the source has ignore_index=None, but rotate, scale and elastic bring in pixels from outside, "
                    "which have no label: give the source an ignore_index, such as 255"
                )
            bound.ignore_index = ignore_index
        return bound

    @property
    def _scales(self) -> bool:
        return tuple(self.scale) != (1, 1) if isinstance(self.scale, (tuple, list)) else self.scale != 0

    def __call__(
        self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, ...]:
        """Changes one pair.

        Args:
            image: `(H, W, C)`, values in `input_range`; taken as float32.
            mask: integer `(H, W)`.
            seed: int32 `[2]`; the same seed makes the same change.
            weights: `(H, W)`, weights of the pixels, or None. They move with their labels, and are 0 outside.

        Returns:
            image float32 `(H', W', C)` and mask int32 `(H', W')`, and with `weights` these, float32 `(H', W')`; H', W'
            are `crop`, or H, W.
        """
        image, mask = tf.convert_to_tensor(image), tf.convert_to_tensor(mask)
        if image.shape.rank != 3 or mask.shape.rank != 2:
            raise ValueError(
                f"Augment takes one image (H, W, C) and one mask (H, W), got shapes {image.shape} and {mask.shape}: "
                f"map it before batching"
            )
        image = tf.cast(image, tf.float32)
        maps = [(tf.cast(mask, tf.int32), 255 if self.ignore_index is None else self.ignore_index)]
        if weights is not None:
            maps.append((tf.cast(weights, tf.float32), 0.0))
        seeds = tf.random.split(tf.convert_to_tensor(seed, tf.int32), num=SPLITS)
        outside = None
        pivot = _mean(image)
        if self._has_geometry:
            image, moved, outside = self._move(image, maps, seeds)
        else:
            moved = [one for one, _ in maps]
        changed = self._photometry(image, pivot, seeds)
        if outside is not None and self.fill != "reflect":
            changed = tf.where(outside[..., None], tf.constant(self.fill, tf.float32), changed)
        return (changed, *moved)

    @property
    def _has_geometry(self) -> bool:
        return bool(self.flip or self.rotate or self.rotate90 or self._scales or self.elastic or self.crop)

    def _move(self, image, maps, seeds):
        """Resamples along one inverse coordinate map. Returns image, maps, and bool `(H', W')`: from outside."""
        height, width = static_or_dynamic(image)
        out_height, out_width = self.crop or (height, width)
        top, left = 0, 0
        if self.crop:
            top, left = self._place(maps[0][0], self.crop, seeds[CROP])
            # A smaller image lies in the middle.
            top, left = top + tf.minimum(height - out_height, 0) // 2, left + tf.minimum(width - out_width, 0) // 2
        inverse = self._inverse_matrix(seeds)
        # Pixel centres relative to the centre of the result: halves, exact in float32, so that flips and turns are
        # exact.
        y = _centred(out_height)[:, None]
        x = _centred(out_width)[None, :]
        source_y = inverse[0, 0] * y + inverse[0, 1] * x + _half(out_height) + tf.cast(top, tf.float32)
        source_x = inverse[1, 0] * y + inverse[1, 1] * x + _half(out_width) + tf.cast(left, tf.float32)
        if not (self.rotate or self._scales or self.elastic):
            # Pixels only change places. A quarter turn of a canvas with one even and one odd side puts every pixel half
            # way between two: a quarter pixel more makes all of them fall to the same side.
            source_y, source_x = tf.floor(source_y + 0.25), tf.floor(source_x + 0.25)
            return _sample(image, maps, source_y, source_x, self.fill, interpolate=False)
        if self.elastic:
            grid = int(self.elastic_grid)
            coarse = tf.random.stateless_normal([1, grid, grid, 2], seeds[_ELASTIC], stddev=self.elastic, alg="philox")
            field = tf.image.resize(coarse, [out_height, out_width], method="bicubic")[0]
            source_y += field[..., 0]
            source_x += field[..., 1]
        return _sample(image, maps, source_y, source_x, self.fill)

    def _inverse_matrix(self, seeds):
        """2x2 matrix from result offsets (y, x) to source offsets (y, x)."""
        matrix = tf.eye(2)
        if self.flip:
            signs = tf.where(tf.random.stateless_uniform([2], seeds[_FLIP], alg="philox") < 0.5, -1.0, 1.0)
            vertical = signs[0] if self.flip in ("vertical", "both", True) else 1.0
            horizontal = signs[1] if self.flip in ("horizontal", "both", True) else 1.0
            matrix = tf.stack([[vertical, 0.0], [0.0, horizontal]])
        if self.rotate90:
            turns = tf.constant(
                [[[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[-1, 0], [0, -1]], [[0, -1], [1, 0]]], tf.float32
            )
            drawn = tf.random.stateless_uniform([], seeds[_TURN], 0, 4, tf.int32, alg="philox")
            matrix = _times(turns[drawn], matrix)
        if self.rotate:
            angle = _uniform(seeds[_ROTATE], -self.rotate, self.rotate) * (math.pi / 180)
            cos, sin = tf.cos(angle), tf.sin(angle)
            matrix = _times(tf.stack([[cos, -sin], [sin, cos]]), matrix)
        if self._scales:
            low, high = self.scale if isinstance(self.scale, (tuple, list)) else (1 / (1 + self.scale), 1 + self.scale)
            matrix = matrix * tf.exp(-_uniform(seeds[_SCALE], math.log(low), math.log(high)))
        return matrix

    def _photometry(self, image, pivot, seeds):
        low, high = self.input_range or (0, 255)
        if self.contrast:
            image = (image - pivot) * _uniform(seeds[_CONTRAST], 1 - self.contrast, 1 + self.contrast) + pivot
        if self.brightness:
            image = image + _uniform(seeds[_BRIGHTNESS], -self.brightness, self.brightness) * (high - low)
        if self.noise:
            level = _uniform(seeds[_NOISE_LEVEL], 0.0, self.noise) * (high - low)
            image = image + level * tf.random.stateless_normal(tf.shape(image), seeds[_NOISE], alg="philox")
        if self.contrast or self.brightness or self.noise:
            image = tf.clip_by_value(image, low, high)
        return image


def _uniform(seed, low: float, high: float):
    return tf.random.stateless_uniform([], seed, alg="philox") * (high - low) + low


def _half(size):
    return (tf.cast(size, tf.float32) - 1) / 2


def _centred(size):
    return tf.range(tf.cast(size, tf.float32)) - _half(size)


def _times(a, b):
    # A 2x2 product written out: `tf.matmul` may use reduced precision on some devices.
    return tf.reduce_sum(a[:, :, None] * b[None, :, :], axis=1)


def _mean(image):
    # In two steps, because a full reduction is split by the number of threads and then differs in the last bit.
    return tf.reduce_mean(tf.reduce_mean(image, axis=(1, 2)))


def _sample(image, maps, y, x, fill, interpolate: bool = True):
    """Bilinear image and nearest maps at source coordinates `y`, `x`: float32 `(H', W')`, pixel centres at integers."""
    height, width = static_or_dynamic(image)
    nearest_y, nearest_x = tf.cast(tf.round(y), tf.int32), tf.cast(tf.round(x), tf.int32)
    outside = (nearest_y < 0) | (nearest_y >= height) | (nearest_x < 0) | (nearest_x >= width)
    nearest = tf.clip_by_value(nearest_y, 0, height - 1) * width + tf.clip_by_value(nearest_x, 0, width - 1)

    def bounded(index, size):
        if fill == "reflect":
            index = tf.math.floormod(index, 2 * size)
            return tf.minimum(index, 2 * size - 1 - index)
        return tf.clip_by_value(index, 0, size - 1)

    moved = [
        tf.where(outside, tf.constant(value, one.dtype), tf.gather(tf.reshape(one, [-1]), nearest))
        for one, value in maps
    ]

    pixels = tf.reshape(image, [-1, image.shape[-1] or tf.shape(image)[-1]])
    if not interpolate:
        return tf.gather(pixels, bounded(nearest_y, height) * width + bounded(nearest_x, width)), moved, outside

    low_y, low_x = tf.floor(y), tf.floor(x)
    weight_y, weight_x = (y - low_y)[..., None], (x - low_x)[..., None]
    low_y, low_x = tf.cast(low_y, tf.int32), tf.cast(low_x, tf.int32)
    y0, y1 = bounded(low_y, height) * width, bounded(low_y + 1, height) * width
    x0, x1 = bounded(low_x, width), bounded(low_x + 1, width)
    # a + (b - a) * w, so that a weight of 0 gives the pixel itself.
    top = tf.gather(pixels, y0 + x0)
    top += (tf.gather(pixels, y0 + x1) - top) * weight_x
    bottom = tf.gather(pixels, y1 + x0)
    bottom += (tf.gather(pixels, y1 + x1) - bottom) * weight_x
    return top + (bottom - top) * weight_y, moved, outside
