"""Atrous spatial pyramid pooling in one op."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._atrous import as_activation, as_rate
from kseg_ops._checks import reject_keras_tensors
from kseg_ops._tensors import axis_size, with_shape
from kseg_ops.aspp_branch import AsppBranch
from kseg_ops.reference.aspp import aspp as _reference

_FLOATS = (tf.float32, tf.float16, tf.bfloat16, tf.float64)
_TENSORS = ("filters", "scale", "offset", "depthwise", "depthwise_scale", "depthwise_offset")


@tf.autograph.experimental.do_not_convert
def aspp(
    x,
    branches: Sequence[AsppBranch],
    projection: AsppBranch,
    pooling: AsppBranch | None = None,
) -> tf.Tensor:
    """Atrous spatial pyramid pooling at inference, all of it in one pass (Chen et al. 2017, section 3.3 of "Rethinking
    Atrous Convolution for Semantic Image Segmentation").

    ```
         +- branch 0: 1 x 1 -----------+
         +- branch 1: 3 x 3, rate 6 ---+
    x ---+- branch 2: 3 x 3, rate 12 --+-- concatenate -- projection: 1 x 1 --> [B, H, W, F]
         +- branch 3: 3 x 3, rate 18 --+
         +- mean -- pooling: 1 x 1 ----+
    ```

    Each box is a convolution with an affine map and an activation. A strip of pixels goes through all branches while it
    is in the cache, and each branch adds its share of the projection at once: neither a branch nor the concatenation
    exists as a whole. What lies in the padding is neither read nor multiplied; the pooled branch, which is the same for
    all pixels of an image, comes to a bias.

    Args:
        x: float32, float16, bfloat16 or float64 `[B, H, W, C]`, C at least 1. Every sum on the way is
            float32, and 16-bit results are rounded once; float64 is computed by stock operations.
        branches: one or more `kseg_ops.AsppBranch` (or tuples of its fields), dense or separable. Their filters,
            `[kh, kw, C, F_i]`, have the dtype of `x`.
        projection: its filters are `[1, 1, D, F]`, D being the channels of all branches in order, those of `pooling`
            last.
        pooling: its filters are `[1, 1, C, F_p]`; None leaves the pooled branch out.

    Returns:
        `[B, H, W, F]` in the dtype of `x`. An empty batch or map gives an empty result.

    Differentiable with respect to every tensor, once, by recomputing everything in stock TensorFlow; training composes
    the other ops, as `kseg.layers.ASPP` does. The compiled op is bitwise equal for any number of threads.

    Compiles under XLA where shapes are static; without XLA support (see `kseg.show_config`), call it within
    `with kseg_ops.use_reference():` there.

    Raises:
        TypeError: a dtype is not supported, an argument is not a number of its kind, or a tensor is a KerasTensor.
        ValueError: a static shape does not fit, or an argument is out of range.
        tf.errors.InvalidArgumentError: shapes known only at run time do not fit.

    Example:
        >>> x = tf.reshape(tf.range(4.0), [1, 1, 4, 1])
        >>> shift = kseg_ops.AsppBranch(filters=tf.constant([1.0, 0.0, 0.0])[None, :, None, None], rate=2)
        >>> mean = kseg_ops.AsppBranch(filters=tf.ones([1, 1, 1, 1]))
        >>> total = kseg_ops.AsppBranch(filters=tf.ones([1, 1, 2, 1]))
        >>> kseg_ops.aspp(x, [shift], total, mean).numpy().ravel()
        array([1.5, 1.5, 1.5, 2.5], dtype=float32)
    """
    branches = [_as_branch(f"branches[{index}]", branch) for index, branch in enumerate(_as_list(branches))]
    projection = _as_branch("projection", projection)
    pooling = None if pooling is None else _as_branch("pooling", pooling)
    for name, part in _named(branches, projection, pooling):
        reject_keras_tensors(
            "aspp", "kseg.layers.ASPP", x=x, **{f"{name}.{field}": getattr(part, field) for field in _TENSORS}
        )
    x = tf.convert_to_tensor(x)
    if x.dtype not in _FLOATS:
        raise TypeError(f"x must be float32, float16, bfloat16 or float64, got {x.dtype.name}")
    if x.shape.rank not in (None, 4):
        raise ValueError(f"x must have shape [B, H, W, C], got {x.shape}")
    channels = None if x.shape.rank is None else x.shape[3]
    branches = [_as_tensors(f"branches[{index}]", branch, x.dtype, channels) for index, branch in enumerate(branches)]
    if pooling is not None:
        pooling = _as_tensors("pooling", pooling, x.dtype, channels, pointwise=True)
    counts = [part.filters.shape[3] for part in (*branches, *([] if pooling is None else [pooling]))]
    total = None if None in counts else sum(counts)
    projection = _as_tensors("projection", projection, x.dtype, total, pointwise=True)

    native = _library.native_op("aspp")
    if native is None or x.dtype == tf.float64:
        return _reference(x, branches, projection, pooling)
    separable = [branch for branch in branches if branch.depthwise is not None]
    pooled = [] if pooling is None else [pooling]
    return native(
        x=x,
        branch_filters=[branch.filters for branch in branches],
        branch_scales=[_filled(branch.scale, branch.filters, 3, 1) for branch in branches],
        branch_offsets=[_filled(branch.offset, branch.filters, 3, 0) for branch in branches],
        depthwise=[branch.depthwise for branch in separable],
        depthwise_scales=[_filled(branch.depthwise_scale, branch.depthwise, 2, 1) for branch in separable],
        depthwise_offsets=[_filled(branch.depthwise_offset, branch.depthwise, 2, 0) for branch in separable],
        pooling_filters=[part.filters for part in pooled],
        pooling_scales=[_filled(part.scale, part.filters, 3, 1) for part in pooled],
        pooling_offsets=[_filled(part.offset, part.filters, 3, 0) for part in pooled],
        projection=projection.filters,
        projection_scale=_filled(projection.scale, projection.filters, 3, 1),
        projection_offset=_filled(projection.offset, projection.filters, 3, 0),
        rates=[number for branch in branches for number in branch.rate],
        separable=[branch.depthwise is not None for branch in branches],
        activations=[branch.activation for branch in branches],
        depthwise_activations=[branch.depthwise_activation for branch in separable],
        pooling_activation="linear" if pooling is None else pooling.activation,
        projection_activation=projection.activation,
    )


def _as_list(branches) -> list:
    if isinstance(branches, AsppBranch) or not isinstance(branches, (list, tuple)):
        raise TypeError(f"branches must be a list of AsppBranch, got {type(branches).__name__}")
    if not branches:
        raise ValueError("branches must hold at least one AsppBranch, got none")
    return list(branches)


def _named(branches, projection, pooling):
    yield from ((f"branches[{index}]", branch) for index, branch in enumerate(branches))
    yield "projection", projection
    if pooling is not None:
        yield "pooling", pooling


def _as_branch(name: str, value) -> AsppBranch:
    """With its rate a pair and its activations names."""
    if not isinstance(value, AsppBranch):
        if not isinstance(value, tuple) or not 1 <= len(value) <= len(AsppBranch._fields):
            raise TypeError(f"{name} must be an AsppBranch, got {type(value).__name__}")
        value = AsppBranch(*value)
    return value._replace(
        rate=as_rate(value.rate, f"{name}.rate"),
        activation=as_activation(f"{name}.activation", value.activation),
        depthwise_activation=as_activation(f"{name}.depthwise_activation", value.depthwise_activation),
    )


def _as_tensors(name: str, branch: AsppBranch, dtype: tf.DType, channels: int | None, pointwise=False) -> AsppBranch:
    kernel = [1, 1] if pointwise or branch.depthwise is not None else [None, None]
    filters = _as_filters(f"{name}.filters", branch.filters, dtype, [*kernel, channels, None])
    if branch.depthwise is None:
        for field in ("depthwise_scale", "depthwise_offset"):
            if getattr(branch, field) is not None:
                raise ValueError(f"{name}.{field} must be None where {name}.depthwise is")
        depthwise = None
    elif pointwise:
        raise ValueError(f"{name}.depthwise must be None")
    else:
        depthwise = _as_filters(f"{name}.depthwise", branch.depthwise, dtype, [None, None, channels, 1])
    return branch._replace(
        filters=filters,
        scale=_as_vector(f"{name}.scale", branch.scale, dtype, filters, 3),
        offset=_as_vector(f"{name}.offset", branch.offset, dtype, filters, 3),
        depthwise=depthwise,
        depthwise_scale=_as_vector(f"{name}.depthwise_scale", branch.depthwise_scale, dtype, depthwise, 2),
        depthwise_offset=_as_vector(f"{name}.depthwise_offset", branch.depthwise_offset, dtype, depthwise, 2),
    )


def _as_filters(name: str, value, dtype: tf.DType, shape: list[int | None]) -> tf.Tensor:
    value = tf.convert_to_tensor(value, None if hasattr(value, "dtype") else dtype)
    if value.dtype != dtype:
        raise TypeError(f"{name} must have the dtype of x, {dtype.name}, got {value.dtype.name}")
    if not value.shape.is_compatible_with(shape) or (value.shape.rank == 4 and 0 in value.shape):
        raise ValueError(f"{name} must have shape {shape} (None: any size but 0), got {value.shape}")
    return tf.ensure_shape(value, shape)


def _as_vector(name: str, value, dtype: tf.DType, filters: tf.Tensor | None, axis: int) -> tf.Tensor | None:
    if value is None:
        return None
    compute = tf.float64 if dtype == tf.float64 else tf.float32
    value = tf.convert_to_tensor(value, None if hasattr(value, "dtype") else compute)
    if not value.dtype.is_floating:
        raise TypeError(f"{name} must be floating, got {value.dtype.name}")
    message = f"{name} must have one entry per channel"
    if not value.shape.is_compatible_with(filters.shape[axis : axis + 1]):
        raise ValueError(f"{message}, shape [{filters.shape[axis]}], got {value.shape}")
    return tf.cast(with_shape(value, [axis_size(filters, axis)], message), compute)


def _filled(value: tf.Tensor | None, filters: tf.Tensor, axis: int, fill: float) -> tf.Tensor:
    """The vector, or as many ones or zeros as the filters have channels."""
    if value is not None:
        return value
    return tf.fill([axis_size(filters, axis)], tf.cast(fill, tf.float32))


@_library.register_gradient("Kseg>Aspp")
def _aspp_gradient(op: tf.Operation, gradient: tf.Tensor):
    inputs = list(op.inputs)
    count, separable, pooled = (op.get_attr(name) for name in ("num_branches", "num_separable", "num_pooling"))
    sizes = [1, *[count] * 3, *[separable] * 3, *[pooled] * 3, 1, 1, 1]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        rest = iter(inputs)
        groups = [[next(rest) for _ in range(size)] for size in sizes]
        (x,), filters, scales, offsets, depthwise, depthwise_scales, depthwise_offsets = groups[:7]
        rates = op.get_attr("rates")
        activations = [name.decode() for name in op.get_attr("activations")]
        between = zip(
            depthwise,
            depthwise_scales,
            depthwise_offsets,
            [name.decode() for name in op.get_attr("depthwise_activations")],
            strict=True,
        )
        branches = [
            AsppBranch(
                filters[i],
                scales[i],
                offsets[i],
                activations[i],
                (rates[2 * i], rates[2 * i + 1]),
                *(next(between) if is_separable else ()),
            )
            for i, is_separable in enumerate(op.get_attr("separable"))
        ]
        pooling = None
        if pooled:
            pooling = AsppBranch(
                *(group[0] for group in groups[7:10]), op.get_attr("pooling_activation").decode(), (1, 1)
            )
        activation = op.get_attr("projection_activation").decode()
        projection = AsppBranch(*(group[0] for group in groups[10:]), activation, (1, 1))
        result = _reference(x, branches, projection, pooling)
    return tape.gradient(result, inputs, gradient)
