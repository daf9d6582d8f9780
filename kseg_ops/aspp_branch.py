"""The weights of one convolution of ASPP."""

from __future__ import annotations

from typing import Any, NamedTuple


class AsppBranch(NamedTuple):
    """A convolution with what follows it: `activation(convolution * scale + offset)`, padded to keep the size.

    Describes each branch of `kseg_ops.aspp`, its pooled branch and its projection. Batch normalisation is folded into
    `scale = gamma / sqrt(variance + epsilon)` and `offset = beta - mean * scale`.

    Attributes:
        filters: `[kh, kw, C, F]`; `[1, 1, C, F]` where `depthwise` is given.
        scale: `[F]`, or None for ones.
        offset: `[F]`, or None for zeros.
        activation: None, `"linear"`, `"relu"`, `"relu6"`, `"hard_sigmoid"` or `"hard_silu"`.
        rate: dilation of the spatial kernel, an int or (rows, columns).
        depthwise: `[kh, kw, C, 1]` for a separable branch: a depthwise convolution at `rate` stands in front, and
            `filters` are the pointwise ones.
        depthwise_scale: `[C]`, or None for ones.
        depthwise_offset: `[C]`, or None for zeros.
        depthwise_activation: between the two convolutions.

    Example:
        >>> branch = kseg_ops.AsppBranch(filters=np.zeros((3, 3, 64, 16), np.float32), rate=6)
    """

    filters: Any
    scale: Any = None
    offset: Any = None
    activation: str | None = "relu"
    rate: int | tuple[int, int] = 1
    depthwise: Any = None
    depthwise_scale: Any = None
    depthwise_offset: Any = None
    depthwise_activation: str | None = None
