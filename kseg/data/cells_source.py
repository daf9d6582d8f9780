"""Synthetic microscopy: the data set that kseg brings along."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kseg.data import hashing
from kseg.data.cells_drawing import draw
from kseg.data.cropping import pair_of_sizes
from kseg.data.errors import DataError
from kseg.data.pipeline import pipeline
from kseg.data.source import Source


class CellsSource(Source):
    """Drawn phase-contrast pictures of cells, with semantic masks and instance ids.

    Cells touch, are granular, and are darker than the background, brighter, or neither; light and focus are uneven;
    there are sensor noise, bright specks, fibres and blurred floaters that are no cells. A global threshold does badly
    on them, a small network well.

    Args:
        count: number of pictures.
        size: height and width in pixels; one integer is a square.
        seed: picture `index` is a pure function of (seed, index) and the other arguments, not of `count`: sources that
            differ in `seed` only hold different pictures.
        channels: 1 is grey; 3 is RGB, with stained cells.
        density: part of the area that cells cover, about.
        radius: smallest and largest radius of a cell in pixels.
        debris: amount of debris; 1 is usual, 0 is none.
        noise: amount of sensor noise; 1 is usual, 0 is none.

    Raises:
        DataError: an argument out of its range.

    Example:
        >>> source = kseg.data.CellsSource(100, size=128, seed=1)
        >>> image, mask = source.load(0)        # uint8 (128, 128, 1), uint8 (128, 128) of 0 and 1
        >>> instances = source.load_instances(0)  # int32 (128, 128), 0 is background
    """

    def __init__(
        self,
        count: int,
        size: int | tuple[int, int] = 128,
        seed: int = 0,
        *,
        channels: int = 1,
        density: float = 0.42,
        radius: tuple[float, float] = (8.0, 14.0),
        debris: float = 1.0,
        noise: float = 1.0,
    ):
        if channels not in (1, 3):
            raise DataError(f"channels must be 1 (grey) or 3 (RGB), got {channels}")
        if int(count) != count or count < 1:
            raise DataError(f"count must be an integer of at least 1, got {count}")
        if not 0 < density < 1:
            raise DataError(f"density must lie between 0 and 1, got {density}")
        if len(radius) != 2 or not 2 <= radius[0] <= radius[1]:
            raise DataError(f"radius must be (smallest, largest) in pixels, each at least 2, got {radius}")
        if debris < 0 or noise < 0:
            raise DataError(f"debris and noise must be at least 0, got {debris} and {noise}")
        super().__init__(channels=channels, num_classes=2, class_names=["background", "cell"])
        self.count, self.size, self.seed = int(count), pair_of_sizes("size", size), int(seed)
        self.density, self.radius, self.debris, self.noise = density, tuple(radius), debris, noise

    def __len__(self) -> int:
        return self.count

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [self.size] * self.count

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, ids = self._draw(index)
        return image, (ids > 0).astype(np.uint8)

    def load_instances(self, index: int) -> np.ndarray:
        """int32 `(H, W)`: 0 background, 1..n the visible cells, numbered without gaps; the mask is where it is > 0."""
        return self.load_with_instances(index)[1]

    def load_with_instances(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The image as of `load` and the ids as of `load_instances`, drawn once."""
        image, ids = self._draw(index)
        return image, np.unique(ids, return_inverse=True)[1].reshape(self.size).astype(np.int32)

    def _draw(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= index < self.count:
            raise IndexError(f"index must lie in 0..{self.count - 1}, got {index}")
        key = hashing.hash64(np.array([index]), self.seed)
        rng = np.random.Generator(np.random.Philox(key=int(key[0])))
        light, stain, ids = draw(*self.size, rng, self.density, self.radius, self.debris)
        exposure = rng.uniform(105, 145)  # grey level of the background
        light = exposure * light[..., None]
        if self.channels == 3:
            # Cells take a violet stain, the medium is slightly warm.
            light = light * np.array([1.06, 1.0, 0.92], np.float32)
            light *= np.exp(-stain[..., None] * np.array([0.2, 0.8, 0.0], np.float32))
        if self.noise:
            # Photon noise grows with the root of the light; read-out noise does not.
            sigma = self.noise * np.sqrt(rng.uniform(0.10, 0.28) * light + rng.uniform(1.0, 6.0))
            light = light + sigma * rng.standard_normal(light.shape, np.float32)
        return np.clip(np.rint(light), 0, 255).astype(np.uint8), ids


def cells(
    count: int = 200,
    batch_size: int = 8,
    size: int | tuple[int, int] = 128,
    seed: int = 0,
    *,
    channels: int = 1,
    density: float = 0.42,
    radius: tuple[float, float] = (8.0, 14.0),
    debris: float = 1.0,
    noise: float = 1.0,
    **options,
) -> tf.data.Dataset:
    """Batches of synthetic microscopy: the embedded data set, for a first run without any data.

    Args:
        count: number of pictures.
        batch_size: samples per batch.
        size: height and width in pixels; one integer is a square.
        seed: of the pictures, and of order and augmentation.
        channels: 1 is grey, 3 is RGB.
        density: part of the area that cells cover, about.
        radius: smallest and largest radius of a cell in pixels.
        debris: amount of debris; 1 is usual, 0 is none.
        noise: amount of sensor noise; 1 is usual, 0 is none.
        **options: of `kseg.data.pipeline`: shuffle, augment, cache, ...

    Returns:
        `tf.data.Dataset` of (image float32 `(B, H, W, channels)` in 0..255, label int32 `(B, H, W)`: 0 background,
        1 cell).

    Example:
        >>> model = kseg.UNet(num_classes=2, input_shape=(None, None, 1), filters=16, depth=4)
        >>> model.fit(kseg.data.cells(200, shuffle=True, cache=True), epochs=10)
    """
    source = CellsSource(
        count, size, seed, channels=channels, density=density, radius=radius, debris=debris, noise=noise
    )
    return pipeline(source, batch_size, seed=seed, **options)
