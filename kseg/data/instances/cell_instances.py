"""The data set that kseg brings along, with its cells as objects."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kseg.data.cells_source import CellsSource
from kseg.data.instances.instance_pipeline import instance_pipeline
from kseg.data.instances.instance_source import InstanceSource
from kseg.data.instances.instances import Instances
from kseg.data.instances.instances_from_masks import instances_from_masks


class CellInstancesSource(InstanceSource):
    """The pictures of a `kseg.data.CellsSource` with each cell as an object of class 0.

    Args:
        cells: the pictures.

    Example:
        >>> source = kseg.data.CellInstancesSource(kseg.data.CellsSource(100, size=128, seed=1, channels=3))
        >>> image, instances = source.load(0)
    """

    def __init__(self, cells: CellsSource):
        super().__init__(num_classes=1, channels=cells.channels, class_names=cells.class_names[1:])
        self.cells = cells

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return self.cells.sizes

    def load(self, index: int) -> tuple[np.ndarray, Instances]:
        image, ids = self.cells.load_with_instances(index)
        return image, instances_from_masks(ids)


def cell_instances(
    count: int = 200,
    batch_size: int = 8,
    size: int | tuple[int, int] = 128,
    seed: int = 0,
    *,
    channels: int = 3,
    density: float = 0.42,
    radius: tuple[float, float] = (8.0, 14.0),
    debris: float = 1.0,
    noise: float = 1.0,
    **options,
) -> tf.data.Dataset:
    """Batches of synthetic microscopy with each cell as an object of class 0.

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
        **options: of `kseg.data.instance_pipeline`: shuffle, augment, cache, max_instances, ...

    Returns:
        `tf.data.Dataset` as of `kseg.data.instance_pipeline`.

    Example:
        >>> model = kseg.MaskRCNN(num_classes=1)
        >>> model.fit(kseg.data.cell_instances(200, batch_size=2, shuffle=True, cache=True), epochs=10)
    """
    cells = CellsSource(
        count, size, seed, channels=channels, density=density, radius=radius, debris=debris, noise=noise
    )
    return instance_pipeline(CellInstancesSource(cells), batch_size, seed=seed, **options)
