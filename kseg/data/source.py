"""What a data set is to kseg: random access to (image, mask) pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kseg.data.argument_checks import check_num_classes


class Source:
    """Random access to image and mask pairs; `kseg.data.pipeline` turns one into a `tf.data.Dataset`.

    Subclass it to bring any storage: implement `__len__` and `load`, and call `super().__init__`. `load` must be a pure
    function of the index (the shuffled order, the cache and an exact resume rest on that) and is called from several
    threads at once.

    Args:
        channels: channels of every image.
        num_classes: number of classes, at most 65536; 1 is the sigmoid case, with labels 0 and 1.
        ignore_index: label of pixels that no loss and no metric counts; None if there is none.
        input_range: (lowest, highest) value that the sensor can give.
        class_names: one name per class, or None.

    Attributes:
        channels, num_classes, ignore_index, input_range, class_names: as given.

    Example:
        >>> class Squares(kseg.data.Source):
        ...     def __init__(self):
        ...         super().__init__(channels=1, num_classes=2)
        ...     def __len__(self):
        ...         return 10
        ...     def load(self, index):
        ...         mask = np.zeros((32, 32), np.uint8)
        ...         mask[index : index + 9, 5:14] = 1
        ...         return mask[..., None] * np.uint8(200), mask
        >>> dataset = kseg.data.pipeline(Squares(), batch_size=2)
    """

    def __init__(
        self,
        *,
        channels: int,
        num_classes: int,
        ignore_index: int | None = 255,
        input_range: tuple[float, float] = (0, 255),
        class_names: Sequence[str] | None = None,
    ):
        check_num_classes(num_classes)
        self.channels = channels
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.input_range = tuple(input_range)
        self.class_names = None if class_names is None else list(class_names)
        self._cache: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must implement __len__")

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Loads one pair.

        Args:
            index: 0..len-1.

        Returns:
            image `(H, W, channels)` of the native dtype (uint8, uint16, float32, ...), unscaled; mask `(H, W)` integer,
            0..num_classes-1 and `ignore_index`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement load(index)")

    def load_cached(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`load`, kept in memory. The cache belongs to the source, so every pipeline over it shares it."""
        index = int(index)
        pair = self._cache.get(index)
        if pair is None:
            pair = self._cache[index] = self.load(index)
        return pair

    @property
    def names(self) -> list[str]:
        """One name per sample, for messages and pictures."""
        return [f"{index:05d}" for index in range(len(self))]

    @property
    def sizes(self) -> list[tuple[int, int]] | None:
        """(height, width) of every sample in pixels, or None where that is not known before loading."""
        return None
