"""Atrous separable convolution with affine maps and activations, in one pass."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._atrous import as_activation, as_rate
from kseg_ops._checks import as_padding, reject_keras_tensors
from kseg_ops._tensors import axis_size, with_shape
from kseg_ops.depthwise_atrous_conv2d import as_weights, check_shapes, depthwise_atrous_conv2d
from kseg_ops.reference.atrous_separable_conv2d import activate, finish, multiply
from kseg_ops.reference.atrous_separable_conv2d import atrous_separable_conv2d as _reference

_FLOATS = (tf.float32, tf.float16, tf.bfloat16, tf.float64)
_AFFINE = ("depthwise_scale", "depthwise_offset", "scale", "offset")


@tf.autograph.experimental.do_not_convert
def atrous_separable_conv2d(
    x,
    depthwise,
    pointwise,
    rate: int | tuple[int, int] = 1,
    depthwise_scale=None,
    depthwise_offset=None,
    depthwise_activation: str | None = None,
    bias=None,
    scale=None,
    offset=None,
    activation: str | None = None,
    padding: str = "same",
) -> tf.Tensor:
    """Depthwise dilated convolution and pointwise convolution, each with an affine map and an activation.

    The atrous separable convolution of DeepLabv3+ (Chen et al. 2018), batch normalisation folded into scales and
    offsets. The compiled form computes it tile by tile: what lies between the two convolutions stays in the cache and
    is never a tensor.

    ```
    middle = depthwise_activation(depthwise_conv(x) * depthwise_scale + depthwise_offset)
    output = activation(middle @ pointwise * scale + offset)
    ```

    Args:
        x: float32, float16, bfloat16 or float64 `[B, H, W, C]`. Sums and `middle` are float32 (float64 for float64,
            which the reference computes).
        depthwise: `[kh, kw, C, m]` in the dtype of `x`; `m` is the depth multiplier. 1 to 64 rows and columns.
        pointwise: `[1, 1, C * m, F]` in the dtype of `x`.
        rate: dilation, `(rows, columns)` or one int for both, 1 to 65536; may be larger than the map.
        depthwise_scale: `[C * m]`, float32 (float64 for float64; others are cast), or None.
        depthwise_offset: `[C * m]`, likewise.
        depthwise_activation: None or "linear", "relu", "relu6", "hard_sigmoid" (`relu6(x + 3) / 6`) or "hard_silu"
            (`x * hard_sigmoid(x)`).
        bias: `[F]`; another name for `offset`, for use without `scale`.
        scale: `[F]`, like `depthwise_scale`.
        offset: `[F]`, likewise.
        activation: like `depthwise_activation`.
        padding: "same" (TensorFlow's SAME for stride 1) or "valid".

    Returns:
        `[B, h, w, F]` in the dtype of `x`; with "same" h = H and w = W, with "valid" `h = H - (kh - 1) * rate[0]`.

    Differentiable once with respect to all tensors; the backward pass computes `middle` anew. The compiled form is
    bitwise equal from run to run and for any number of threads. Compiles under XLA where shapes are static; without XLA
    support (see `kseg.show_config`), call it within `with kseg_ops.use_reference():` there.

    Raises:
        TypeError: a dtype is not supported, or a tensor is a KerasTensor.
        ValueError: a static shape does not fit, or an argument is out of range.
        tf.errors.InvalidArgumentError: shapes known only at run time do not fit; `x` or `depthwise` without channels.

    Example:
        >>> x = tf.reshape(tf.range(5.0), [1, 1, 5, 1])
        >>> y = kseg_ops.atrous_separable_conv2d(
        ...     x, tf.ones([1, 3, 1, 1]), 2 * tf.ones([1, 1, 1, 1]), rate=2, bias=[-8.0], activation="relu"
        ... )
        >>> y.numpy().ravel()
        array([0., 0., 4., 0., 4.], dtype=float32)
    """
    reject_keras_tensors(
        "atrous_separable_conv2d",
        "kseg.layers.AtrousSeparableConv2D",
        x=x,
        depthwise=depthwise,
        pointwise=pointwise,
        depthwise_scale=depthwise_scale,
        depthwise_offset=depthwise_offset,
        bias=bias,
        scale=scale,
        offset=offset,
    )
    rate = as_rate(rate)
    padding = as_padding(padding)
    depthwise_activation = as_activation("depthwise_activation", depthwise_activation)
    activation = as_activation("activation", activation)
    if bias is not None:
        if scale is not None or offset is not None:
            raise ValueError("bias stands alone: beside scale or offset, give what is added as offset")
        offset = bias
    x = tf.convert_to_tensor(x)
    if x.dtype not in _FLOATS:
        raise TypeError(f"x must be float32, float16, bfloat16 or float64, got {x.dtype.name}")
    depthwise = as_weights("depthwise", depthwise, x.dtype)
    pointwise = as_weights("pointwise", pointwise, x.dtype)
    affine = dict(zip(_AFFINE, (depthwise_scale, depthwise_offset, scale, offset), strict=True))
    real = tf.float64 if x.dtype == tf.float64 else tf.float32
    affine = {name: None if value is None else _as_affine(name, value, real) for name, value in affine.items()}
    check_shapes(x.shape, "depthwise", depthwise.shape, rate, padding)
    _check_pointwise(x.shape, depthwise.shape, pointwise.shape)
    for name, value in affine.items():
        if value is not None:
            affine[name] = _checked_affine(name, value, pointwise, 2 if name.startswith("depthwise") else 3)

    native = _library.native_op("atrous_separable_conv2d") if x.dtype != tf.float64 else None
    attributes = {
        "rate": rate,
        "padding": padding,
        "depthwise_activation": depthwise_activation,
        "activation": activation,
    }
    if native is None:
        return _reference(x, depthwise, pointwise, **affine, **attributes)
    none = tf.zeros([0], tf.float32)
    affine = {name: none if value is None else value for name, value in affine.items()}
    return native(x=x, depthwise=depthwise, pointwise=pointwise, **affine, **attributes)


def _as_affine(name: str, value, dtype: tf.DType) -> tf.Tensor:
    if hasattr(value, "dtype"):
        value = tf.convert_to_tensor(value)
        if not value.dtype.is_floating:
            raise TypeError(f"{name} must be of floating point, got {value.dtype.name}")
        return tf.cast(value, dtype)
    return tf.convert_to_tensor(value, dtype)


def _check_pointwise(x: tf.TensorShape, depthwise: tf.TensorShape, pointwise: tf.TensorShape) -> None:
    if not pointwise.is_compatible_with([1, 1, None, None]):
        raise ValueError(f"pointwise must have shape [1, 1, C * m, F], got {pointwise}")
    if x.rank is not None and x[3] == 0:
        raise ValueError(f"x must have at least one channel, got shape {x}")
    if depthwise.rank is None:
        return
    if depthwise[3] == 0:
        raise ValueError(f"depthwise must have shape [kh, kw, C, m] with m of at least 1, got {depthwise}")
    if pointwise.rank is not None and depthwise[2:].is_fully_defined():
        middle = depthwise[2] * depthwise[3]
        if pointwise[2] not in (None, middle):
            raise ValueError(
                f"pointwise must have shape [1, 1, C * m, F] with C * m = {middle} as depthwise has, got {pointwise}"
            )


def _checked_affine(name: str, value: tf.Tensor, pointwise: tf.Tensor, axis: int) -> tf.Tensor:
    shape = pointwise.shape
    if value.shape.rank not in (None, 1):
        raise ValueError(f"{name} must have shape [{'C * m' if axis == 2 else 'F'}], got {value.shape}")
    message = f"{name} must have one entry per channel"
    if shape.rank is not None and not value.shape.is_compatible_with(shape[axis : axis + 1]):
        raise ValueError(f"{message}, {shape[axis]}, got {value.shape[0]}")
    return with_shape(value, [axis_size(pointwise, axis)], message)


@_library.register_gradient("Kseg>AtrousSeparableConv2d")
def _gradient(op: tf.Operation, gradient: tf.Tensor):
    x, depthwise, pointwise = (tf.cast(value, tf.float32) for value in op.inputs[:3])
    # A vector without elements stands for none: the caller gives those with a static shape.
    given = [None if value.shape.num_elements() == 0 else value for value in op.inputs[3:]]
    scale1, offset1, scale2, offset2 = given
    rate, padding = tuple(op.get_attr("rate")), tf.compat.as_str(op.get_attr("padding"))
    first, last = (tf.compat.as_str(op.get_attr(name)) for name in ("depthwise_activation", "activation"))

    # Scales go into the filters: one pass over the map less, and their gradients come from those of the filters.
    folded = depthwise if scale1 is None else depthwise * tf.reshape(scale1, tf.shape(depthwise)[2:])
    with tf.GradientTape() as tape:
        tape.watch([x, folded])
        sums = depthwise_atrous_conv2d(x, folded, rate, padding)
    before = finish(sums, None, offset1, "linear")
    middle = activate(before, first)
    matrix = pointwise[0, 0]
    scaled = matrix if scale2 is None else matrix * scale2

    result = op.outputs[0]
    if result.dtype != tf.float32 or last == "hard_silu":
        # The result is rounded, or does not tell where it came from.
        gradient = _through(
            last, tf.cast(gradient, tf.float32), finish(multiply(middle, scaled[None, None]), None, offset2, "linear")
        )
    else:
        gradient = _through(last, gradient, None, result)
    flat, pixels = _as_matrix(gradient), _as_matrix(middle)
    of_matrix = tf.matmul(pixels, flat, transpose_a=True)
    of_middle = tf.reshape(tf.matmul(flat, scaled, transpose_b=True), tf.shape(middle))
    of_before = _through(first, of_middle, before, middle)
    of_x, of_folded = tape.gradient(sums, [x, folded], of_before)

    affine = [
        None if scale1 is None else tf.reshape(tf.reduce_sum(depthwise * of_folded, [0, 1]), tf.shape(scale1)),
        None if offset1 is None else tf.reduce_sum(of_before, [0, 1, 2]),
        None if scale2 is None else tf.reduce_sum(matrix * of_matrix, 0),
        None if offset2 is None else tf.reduce_sum(gradient, [0, 1, 2]),
    ]
    if scale1 is not None:
        of_folded *= tf.reshape(scale1, tf.shape(depthwise)[2:])
    if scale2 is not None:
        of_matrix *= scale2
    of_filters = (of_x, of_folded, tf.reshape(of_matrix, tf.shape(pointwise)))
    return [tf.cast(value, given.dtype) for value, given in zip(of_filters, op.inputs[:3], strict=True)] + affine


def _as_matrix(x) -> tf.Tensor:
    """[B, H, W, C] as [B * H * W, C], also without any pixels."""
    shape = tf.shape(x)
    return tf.reshape(x, [shape[0] * shape[1] * shape[2], shape[3]])


def _through(activation: str, gradient, before, after=None) -> tf.Tensor:
    """The gradient of what went into an activation, from what went in or, if that is None, from what came out."""
    known = before if after is None else after
    if activation == "relu":
        return tf.raw_ops.ReluGrad(gradients=gradient, features=known)
    if activation == "relu6":
        return tf.raw_ops.Relu6Grad(gradients=gradient, features=known)
    if activation in ("hard_sigmoid", "hard_silu"):
        if before is None:
            return gradient * tf.cast((after > 0) & (after < 1), gradient.dtype) / 6
        with tf.GradientTape() as tape:
            tape.watch(before)
            result = activate(before, activation)
        return tape.gradient(result, before, gradient)
    return gradient
