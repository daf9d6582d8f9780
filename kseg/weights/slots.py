"""A variable of a model, and the tensor of a published checkpoint that belongs there."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import keras
import numpy as np

from kseg.layers import AtrousSeparableConv2D, DepthwiseConvNorm2D

# Which of a published tensor's axes become those of the variable.
VECTOR = (0,)
KERNEL = (2, 3, 1, 0)  # OIHW to HWIO; of a transposed convolution IOHW to HWOI
DEPTHWISE = (2, 3, 0, 1)  # C1HW to HWC1
MATRIX = (1, 0)  # OI to IO


@dataclasses.dataclass(frozen=True)
class Slot:
    """A variable and the published tensor for it.

    Attributes:
        name: of the tensor.
        variable: the Keras variable.
        axes: the tensor's axes in the order that the variable has them.
        per_class: whether the tensor's first axis are the classes.
        background: how many places of that axis belong to no class.
        split: the shape that a matrix is brought to before its axes are permuted, where it was made for features with
            their channels first; None for its own.
    """

    name: str
    variable: keras.Variable
    axes: tuple[int, ...] = VECTOR
    per_class: bool = False
    background: int = 0
    split: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the tensor must have."""
        if self.split is not None:
            return (self.split[0], math.prod(self.split[1:]))
        return tuple(int(size) for size in np.asarray(self.variable.shape)[np.argsort(self.axes)])

    def arranged(self, value: np.ndarray) -> np.ndarray:
        """A tensor of the right shape, in the layout of the variable."""
        if self.split is None:
            return value.transpose(self.axes)
        return value.reshape(self.split).transpose(self.axes).reshape(self.variable.shape)


def convolution(name: str, layer, **options) -> Iterator[Slot]:
    """The kernel, and the bias if there is one, of a convolution.

    Args:
        name: what the published network calls it.
        layer: anything with a `kernel` and a `bias`, which may be None.
        **options: of `Slot`.
    """
    axes = DEPTHWISE if isinstance(layer, DepthwiseConvNorm2D) else KERNEL
    yield Slot(f"{name}.weight", layer.kernel, axes, **options)
    if layer.bias is not None:
        yield Slot(f"{name}.bias", layer.bias, **options)


def dense(name: str, layer: keras.layers.Dense, positions: tuple[int, int] | None = None, **options) -> Iterator[Slot]:
    """The matrix and the bias of a dense layer.

    Args:
        name: what the published network calls it.
        layer: with a bias.
        positions: height and width of the features that it sees flattened, which the published network has with the
            channels first; None where it sees vectors.
        **options: of `Slot`.
    """
    if positions is None:
        yield Slot(f"{name}.weight", layer.kernel, MATRIX, **options)
    else:
        inputs, outputs = layer.kernel.shape
        split = (outputs, inputs // math.prod(positions), *positions)
        yield Slot(f"{name}.weight", layer.kernel, KERNEL, split=split, **options)
    yield Slot(f"{name}.bias", layer.bias, **options)


def classifier(name: str, layer) -> Iterator[Slot]:
    """The last convolution of a head, whose outputs are the classes."""
    return convolution(name, layer, per_class=True)


def affine(name: str, layer) -> Iterator[Slot]:
    """The factor and the offset of a normalisation."""
    yield Slot(f"{name}.weight", layer.gamma)
    yield Slot(f"{name}.bias", layer.beta)


def batch_norm(name: str, layer: keras.layers.BatchNormalization) -> Iterator[Slot]:
    """The four vectors of a batch normalisation."""
    yield from affine(name, layer)
    yield Slot(f"{name}.running_mean", layer.moving_mean)
    yield Slot(f"{name}.running_var", layer.moving_variance)


def conv_norm(name: str, norm_name: str, layer) -> Iterator[Slot]:
    """A convolution and, where the layer has one, its batch normalisation.

    Args:
        name: what the published network calls the convolution; of a separable one, what its parts' names begin with.
        norm_name: what it calls the normalisation.
        layer: of kseg, with a `batch_norm` that may be None.
    """
    if isinstance(layer, AtrousSeparableConv2D):
        yield Slot(f"{name}.0.weight", layer.depthwise_kernel, DEPTHWISE)
        yield Slot(f"{name}.1.weight", layer.pointwise_kernel, KERNEL)
    else:
        yield from convolution(name, layer)
    if layer.batch_norm is not None:
        yield from batch_norm(norm_name, layer.batch_norm)


def sequence(name: str, layer) -> Iterator[Slot]:
    """A convolution and its normalisation, numbered 0 and 1 under one name."""
    return conv_norm(f"{name}.0", f"{name}.1", layer)


def pyramid(name: str, layer) -> Iterator[Slot]:
    """An `ASPP`; both libraries have the same parts, and number them alike."""
    for index, branch in enumerate(layer.branches):
        yield from sequence(f"{name}.convs.{index}", branch)
    pooling = f"{name}.convs.{len(layer.branches)}"  # its first part is the mean
    yield from conv_norm(f"{pooling}.1", f"{pooling}.2", layer.pooling)
    yield from sequence(f"{name}.project", layer.projection)
