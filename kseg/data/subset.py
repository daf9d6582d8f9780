"""Part of a source."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from kseg.data.argument_checks import checked_indices
from kseg.data.source import Source


class Subset(Source):
    """The samples of `source` at `indices`, in that order.

    Args:
        source: any `Source`.
        indices: positions in `source`, each 0..len(source)-1.

    Raises:
        DataError: an index outside the source.
    """

    def __init__(self, source: Source, indices: Iterable[int]):
        super().__init__(
            channels=source.channels,
            num_classes=source.num_classes,
            ignore_index=source.ignore_index,
            input_range=source.input_range,
            class_names=source.class_names,
        )
        self.source = source
        self.indices = checked_indices(indices, len(source))

    def __len__(self) -> int:
        return len(self.indices)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.source.load(self.indices[index])

    @property
    def names(self) -> list[str]:
        names = self.source.names
        return [names[index] for index in self.indices]

    @property
    def sizes(self) -> list[tuple[int, int]] | None:
        sizes = self.source.sizes
        return None if sizes is None else [sizes[index] for index in self.indices]
