"""torchvision's names of the tensors of segmentation networks."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import keras

from kseg.weights.slots import Slot


@functools.singledispatch
def model_slots(model: keras.Model) -> Iterator[Slot]:
    """The slots of a model.

    Raises:
        TypeError: torchvision has no such model.
    """
    raise TypeError(f"torchvision has no network of the kind {type(model).__name__}, so its weights do not fit")
