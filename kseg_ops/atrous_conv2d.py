"""Dilated convolution with an affine map and an activation behind it."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._atrous import as_activation, as_rate
from kseg_ops._checks import as_padding, reject_keras_tensors
from kseg_ops._tensors import axis_size, with_shape
from kseg_ops.reference.atrous_conv2d import atrous_conv2d as _reference
from kseg_ops.reference.atrous_conv2d import convolve as _convolve

_FLOATS = (tf.float32, tf.float16, tf.bfloat16, tf.float64)
# oneDNN runs a dilated convolution at the rate of a matrix product and skips what lies in the padding, too. The
# compiled op gains where packing the weights weighs most; with fewer channels stock TensorFlow is as fast or faster:
# benchmarks/ops/atrous_conv2d.py has both sides of the crossover.
_LEAST_CHANNELS = 2048
# The derivative of these follows from the output: it is their slope inside the open interval, and 0 outside.
_SLOPES = {"relu": (1.0, 0.0, None), "relu6": (1.0, 0.0, 6.0), "hard_sigmoid": (1 / 6, 0.0, 1.0)}


@tf.autograph.experimental.do_not_convert
def atrous_conv2d(
    x,
    filters,
    rate: int | tuple[int, int] = 1,
    bias=None,
    scale=None,
    offset=None,
    activation: str | None = None,
    padding: str = "same",
) -> tf.Tensor:
    """`activation(convolution(x, filters) * scale + offset)` in one pass; the convolution is dilated, of stride 1.

    Dilated ("atrous") convolution spreads the taps of a kernel `rate` pixels apart (Yu and Koltun 2016, "Multi-Scale
    Context Aggregation by Dilated Convolutions"). A trained batch normalisation is such a `scale` and `offset`.

    ```
    3 x 3, rate 2:   o . o . o     nine taps over 5 x 5 pixels; "same" padding adds rate * (k - 1) pixels in all, the
                     . . . . .     odd one at the end. What lies in the padding is neither read nor multiplied, also
                     o . o . o     where the rate exceeds the map.
                     . . . . .
                     o . o . o
    ```

    Args:
        x: float32, float16, bfloat16 or float64 `[B, H, W, C]`, C at least 1. Sums are float32 and 16-bit results are
            rounded once; float64 is computed by stock operations.
        filters: `[kh, kw, C, F]` of the dtype of `x`, none of them 0.
        rate: how far apart the taps lie: an int, or (rows, columns), 1 to 65536; may be larger than the map.
        bias: `[F]`; another word for `offset` where there is no `scale`.
        scale: `[F]`, taken as float32 (float64 for float64), or None for ones.
        offset: `[F]` likewise, or None for zeros.
        activation: None, `"linear"`, `"relu"`, `"relu6"`, `"hard_sigmoid"` (`relu6(x + 3) / 6`) or `"hard_silu"`
            (`x * hard_sigmoid(x)`). NaN stays NaN.
        padding: `"same"` keeps the size. `"valid"` takes `rate * (k - 1)` pixels away; the map must have
            them, and one that has no more gives an empty result.

    Returns:
        `[B, H', W', F]` in the dtype of `x`. An empty batch or map gives an empty result.

    Differentiable with respect to `x`, `filters`, `bias`, `scale` and `offset`, once. The backward pass uses stock
    TensorFlow's convolutions, which run near the rate of its matrix products where it has oneDNN. The compiled forward
    pass is bitwise equal for any number of threads.

    Below 2048 channels, where stock TensorFlow is as fast or faster, it runs instead of the compiled op. Compiles under
    XLA where shapes are static; without XLA support (see `kseg.show_config`), call it within
    `with kseg_ops.use_reference():` there.

    Raises:
        TypeError: a dtype is not supported, an argument is not a number of its kind, or a tensor is a KerasTensor.
        ValueError: a static shape does not fit, or an argument is out of range.
        tf.errors.InvalidArgumentError: shapes known only at run time do not fit.

    Example:
        >>> x = tf.reshape(tf.range(5.0), [1, 1, 5, 1])
        >>> kseg_ops.atrous_conv2d(x, tf.ones([1, 3, 1, 1]), rate=2, offset=[-5.0], activation="relu").numpy().ravel()
        array([0., 0., 1., 0., 1.], dtype=float32)
    """
    reject_keras_tensors(
        "atrous_conv2d", "kseg.layers.AtrousConv2D", x=x, filters=filters, bias=bias, scale=scale, offset=offset
    )
    rate = as_rate(rate)
    activation = as_activation("activation", activation)
    padding = as_padding(padding)
    if bias is not None:
        if scale is not None or offset is not None:
            raise ValueError("bias must not be given together with scale or offset; with a scale, give offset")
        offset = bias
    x = tf.convert_to_tensor(x)
    if x.dtype not in _FLOATS:
        raise TypeError(f"x must be float32, float16, bfloat16 or float64, got {x.dtype.name}")
    filters = tf.convert_to_tensor(filters, None if hasattr(filters, "dtype") else x.dtype)
    if filters.dtype != x.dtype:
        raise TypeError(f"filters must have the dtype of x, {x.dtype.name}, got {filters.dtype.name}")
    check_convolution_shapes(x.shape, filters.shape, rate, padding)
    scale = as_affine("scale", scale, x.dtype, filters)
    offset = as_affine("offset" if bias is None else "bias", offset, x.dtype, filters)

    native = _library.native_op("atrous_conv2d")
    if native is None or x.dtype == tf.float64 or _stock_is_faster(filters.shape):
        return _reference(x, filters, rate, scale, offset, activation, padding)
    nothing = tf.zeros([0])
    return native(
        x=x,
        filters=filters,
        scale=nothing if scale is None else scale,
        offset=nothing if offset is None else offset,
        rate=rate,
        activation=activation,
        padding=padding,
    )


def _stock_is_faster(filters: tf.TensorShape) -> bool:
    channels = None if filters.rank is None else filters[2]
    return channels is not None and channels < _LEAST_CHANNELS


def check_convolution_shapes(x: tf.TensorShape, filters: tf.TensorShape, rate: tuple[int, int], padding: str) -> None:
    """ValueError if static shapes do not fit each other."""
    if x.rank not in (None, 4):
        raise ValueError(f"x must have shape [B, H, W, C], got {x}")
    if filters.rank not in (None, 4):
        raise ValueError(f"filters must have shape [kh, kw, C, F], got {filters}")
    if filters.rank == 4 and 0 in filters:
        raise ValueError(f"filters must have no axis of size 0, got shape {filters}")
    if x.rank is None or filters.rank is None:
        return
    if not x[3:].is_compatible_with(filters[2:3]):
        raise ValueError(f"filters must have shape [kh, kw, C, F] with the channels of x, C = {x[3]}, got {filters}")
    if padding == "valid":
        for name, size, kernel, step in zip(("height", "width"), x[1:3], filters[:2], rate, strict=True):
            if size is not None and kernel is not None and size < (kernel - 1) * step:
                raise ValueError(
                    f'x must have a {name} of at least {(kernel - 1) * step} for padding="valid" with a kernel of '
                    f'{kernel} at rate {step}, got {size}; padding="same" takes any size'
                )


def as_affine(name: str, value, dtype: tf.DType, filters: tf.Tensor) -> tf.Tensor | None:
    """`scale` or `offset`: None, or float32 (float64 beside float64) of one entry per output channel."""
    if value is None:
        return None
    compute = tf.float64 if dtype == tf.float64 else tf.float32
    value = tf.convert_to_tensor(value, None if hasattr(value, "dtype") else compute)
    if not value.dtype.is_floating:
        raise TypeError(f"{name} must be floating, got {value.dtype.name}")
    channels = None if filters.shape.rank is None else filters.shape[3]
    message = f"{name} must have one entry per output channel"
    if not value.shape.is_compatible_with([channels]):
        raise ValueError(f"{message}, shape [{channels}], got shape {value.shape}")
    return tf.cast(with_shape(value, [axis_size(filters, 3)], message), compute)


@_library.register_gradient("Kseg>AtrousConv2d")
def _atrous_conv2d_gradient(op: tf.Operation, gradient: tf.Tensor):
    x, filters, scale, offset = op.inputs
    rate = tuple(op.get_attr("rate"))
    activation, padding = (op.get_attr(name).decode() for name in ("activation", "padding"))
    gradient = tf.cast(gradient, tf.float32)
    given = [None if tensor.shape == [0] else tensor for tensor in (scale, offset)]
    sources = [x, filters, scale, offset]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        # A 16-bit output may have been rounded onto the end of a slope.
        needs_input = activation == "hard_silu" or (activation not in ("linear", "relu") and x.dtype != tf.float32)
        if needs_input:
            result = tf.cast(_reference(x, filters, rate, *given, activation, padding), tf.float32)
        else:
            gradient = _before_activation(activation, tf.cast(op.outputs[0], tf.float32), gradient)
            # The scale goes into the filters, so that no output of a convolution is needed to differentiate it.
            weights = tf.cast(filters, tf.float32) * (1.0 if given[0] is None else given[0])
            result = _convolve(tf.cast(x, tf.float32), weights, rate, padding)
            if given[1] is not None:
                result = result + offset
    return tape.gradient(result, sources, gradient)


def _before_activation(activation: str, output: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    if activation not in _SLOPES:
        return gradient
    slope, least, most = _SLOPES[activation]
    inside = output > least
    if most is not None:
        inside &= output < most
    return tf.where(inside, gradient * slope, 0)
