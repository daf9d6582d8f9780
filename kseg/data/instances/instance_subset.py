"""Part of a source of objects."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from kseg.data.argument_checks import checked_indices
from kseg.data.instances.instance_source import InstanceSource
from kseg.data.instances.instances import Instances


class InstanceSubset(InstanceSource):
    """The samples of `source` at `indices`, in that order.

    Args:
        source: any `InstanceSource`.
        indices: positions in `source`, each 0..len(source)-1.

    Raises:
        DataError: an index outside the source.

    Example:
        >>> source = kseg.data.CocoSource("images", "instances.json")
        >>> train = kseg.data.InstanceSubset(source, range(3, len(source)))
        >>> validation = kseg.data.InstanceSubset(source, range(3))
    """

    def __init__(self, source: InstanceSource, indices: Iterable[int]):
        super().__init__(
            num_classes=source.num_classes,
            channels=source.channels,
            dtype=source.dtype,
            input_range=source.input_range,
            class_names=source.class_names,
        )
        self.source = source
        self.indices = checked_indices(indices, len(source))

    def __len__(self) -> int:
        return len(self.indices)

    def load(self, index: int) -> tuple[np.ndarray, Instances]:
        return self.source.load(self.indices[index])

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return self._chosen(self.source.sizes)

    @property
    def image_ids(self) -> list[int]:
        return self._chosen(self.source.image_ids)

    @property
    def names(self) -> list[str]:
        return self._chosen(self.source.names)

    @property
    def counts(self) -> list[int] | None:
        counts = self.source.counts
        return None if counts is None else self._chosen(counts)

    def _chosen(self, values: list) -> list:
        return [values[index] for index in self.indices]
