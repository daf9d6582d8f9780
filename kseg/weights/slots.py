"""A variable of a model, and the tensor of a published checkpoint that belongs there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np

# Which of a published tensor's axes become those of the variable.
VECTOR = (0,)
KERNEL = (2, 3, 1, 0)  # OIHW to HWIO; of a transposed convolution IOHW to HWOI
DEPTHWISE = (2, 3, 0, 1)  # C1HW to HWC1


@dataclasses.dataclass(frozen=True)
class Slot:
    """A variable and the published tensor for it.

    Attributes:
        name: of the tensor.
        variable: the Keras variable.
        axes: the tensor's axes in the order that the variable has them.
        per_class: whether the tensor's first axis are the classes.
    """

    name: str
    variable: keras.Variable
    axes: tuple[int, ...] = VECTOR
    per_class: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the tensor must have."""
        return tuple(int(size) for size in np.asarray(self.variable.shape)[np.argsort(self.axes)])


def convolution(name: str, layer, **options) -> Iterator[Slot]:
    """The kernel, and the bias if there is one, of a convolution or a transposed one.

    Args:
        name: what the published network calls it.
        layer: anything with a `kernel` `(rows, columns, in, out)` and a `bias`, which may be None.
        **options: of `Slot`.
    """
    yield Slot(f"{name}.weight", layer.kernel, KERNEL, **options)
    if layer.bias is not None:
        yield Slot(f"{name}.bias", layer.bias, **options)


def normalisation(name: str, layer: keras.layers.BatchNormalization) -> Iterator[Slot]:
    """The four vectors of a batch normalisation."""
    yield Slot(f"{name}.weight", layer.gamma)
    yield Slot(f"{name}.bias", layer.beta)
    yield Slot(f"{name}.running_mean", layer.moving_mean)
    yield Slot(f"{name}.running_var", layer.moving_variance)


def conv_norm(convolution_name: str, norm_name: str, layer) -> Iterator[Slot]:
    """A layer with a convolution and, where it has one, its `batch_norm`."""
    yield from convolution(convolution_name, layer)
    if layer.batch_norm is not None:
        yield from normalisation(norm_name, layer.batch_norm)
