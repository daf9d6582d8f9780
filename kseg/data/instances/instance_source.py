"""What a data set of objects is to kseg: random access to (image, instances)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kseg.data.argument_checks import check_class_names, check_num_classes
from kseg.data.instances.instances import Instances


class InstanceSource:
    """Random access to images and their objects; `kseg.data.instance_pipeline` turns one into a `tf.data.Dataset`.

    Subclass it to bring any storage: implement `__len__`, `load` and `sizes`, and call `super().__init__`. `load` must
    be a pure function of the index (the shuffled order, copy-paste and an exact resume rest on that) and is called from
    several threads at once.

    Args:
        num_classes: number of classes of objects, at most 65536; background is none of them.
        channels: channels of every image.
        dtype: "uint8", or "float32" for images of any other type.
        input_range: (lowest, highest) value that the sensor can give.
        class_names: one name per class, or None.

    Attributes:
        num_classes, channels, dtype, input_range, class_names: as given.

    Example:
        >>> class Squares(kseg.data.InstanceSource):
        ...     def __init__(self):
        ...         super().__init__(num_classes=1)
        ...     def __len__(self):
        ...         return 10
        ...     @property
        ...     def sizes(self):
        ...         return [(32, 32)] * 10
        ...     def load(self, index):
        ...         ids = np.zeros((32, 32), np.uint8)
        ...         ids[index : index + 9, 5:14] = 1
        ...         return np.repeat(200 * ids[..., None], 3, axis=2), kseg.data.instances_from_masks(ids)
        >>> dataset = kseg.data.instance_pipeline(Squares(), batch_size=2, image_size=64)
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int = 3,
        dtype: str = "uint8",
        input_range: tuple[float, float] = (0, 255),
        class_names: Sequence[str] | None = None,
    ):
        check_num_classes(num_classes)
        if np.dtype(dtype) not in (np.uint8, np.float32):
            raise ValueError(f"dtype must be 'uint8' or 'float32', got {dtype!r}")
        if class_names is not None:
            check_class_names(class_names)
        self.num_classes, self.channels, self.dtype = num_classes, channels, np.dtype(dtype).name
        self.input_range = tuple(input_range)
        self.class_names = None if class_names is None else list(class_names)
        self._cache: dict[int, tuple[np.ndarray, Instances]] = {}

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must implement __len__")

    def load(self, index: int) -> tuple[np.ndarray, Instances]:
        """Loads one sample.

        Args:
            index: 0..len-1.

        Returns:
            image `(H, W, channels)`, unscaled, and its `Instances`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement load(index)")

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every image in pixels, known before loading."""
        raise NotImplementedError(f"{type(self).__name__} must implement sizes")

    @property
    def image_ids(self) -> list[int]:
        """One number per image, by which results are matched with it."""
        return list(range(len(self)))

    @property
    def names(self) -> list[str]:
        """One name per image, for messages and pictures."""
        return [f"{index:05d}" for index in range(len(self))]

    @property
    def counts(self) -> list[int] | None:
        """Instances per image, or None where that is not known before loading."""
        return None

    def load_cached(self, index: int) -> tuple[np.ndarray, Instances]:
        """`load`, kept in memory. The cache belongs to the source, so every pipeline over it shares it."""
        index = int(index)
        pair = self._cache.get(index)
        if pair is None:
            pair = self._cache[index] = self.load(index)
        return pair
