"""The classes of a published data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassTable:
    """Names and colours of the classes of a data set, in the order of the class numbers that kseg gives.

    Attributes:
        names: one name per class.
        palette: one (red, green, blue) of 0..255 per class. Two classes may have the same colour.

    Raises:
        ValueError: another number of colours than of names.

    Example:
        >>> kseg.data.VOC.names[15], kseg.data.VOC.palette[15]
        ('person', (192, 128, 128))
        >>> len(kseg.data.CITYSCAPES)
        19
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    def __post_init__(self):
        if len(self.names) != len(self.palette):
            raise ValueError(f"palette must hold {len(self.names)} colours, one per name, got {len(self.palette)}")

    def __len__(self) -> int:
        return len(self.names)

    def colours(self, classes: np.ndarray, void: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
        """The picture of a class map in the colours of the data set.

        Args:
            classes: integer `(..., H, W)`; what is no class is void.
            void: the colour of void.

        Returns:
            uint8 `(..., H, W, 3)`.
        """
        classes = np.asarray(classes)
        table = np.array([*self.palette, void], np.uint8)
        return table[np.where((classes >= 0) & (classes < len(self)), classes, len(self))]


def table_of(text: str) -> ClassTable:
    """A table from lines of `colour name, colour name, ...`, colours as six hexadecimal digits."""
    entries = [entry.split(maxsplit=1) for entry in text.replace("\n", " ").split(",") if entry.strip()]
    return ClassTable(
        tuple(name.strip() for _, name in entries),
        tuple((int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)) for code, _ in entries),
    )
