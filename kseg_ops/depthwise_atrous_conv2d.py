"""Depthwise atrous convolution."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._atrous import as_rate, check_kernel, check_valid_padding
from kseg_ops._checks import as_padding, reject_keras_tensors
from kseg_ops.reference.depthwise_atrous_conv2d import depthwise_atrous_conv2d as _reference

_FLOATS = (tf.float32, tf.float16, tf.bfloat16, tf.float64)


@tf.autograph.experimental.do_not_convert
def depthwise_atrous_conv2d(x, filters, rate: int | tuple[int, int] = 1, padding: str = "same") -> tf.Tensor:
    """Depthwise dilated convolution: each channel with filters of its own, taps `rate` pixels apart.

    The first half of an atrous separable convolution (Chen et al. 2018, "Encoder-Decoder with Atrous Separable
    Convolution"). Stock TensorFlow rearranges the map for a rate above 1 (space_to_batch), which costs more than the
    convolution; here nothing is rearranged, and taps that fall wholly into the padding are skipped.

    ```
    output[b, y, x, c * m + j] = sum over ky, kx of
        filters[ky, kx, c, j] * x[b, y + ky * rate[0] - pad[0], x + kx * rate[1] - pad[1], c]
    ```

    Args:
        x: float32, float16, bfloat16 or float64 `[B, H, W, C]`. Sums are float32 (float64 for float64, which the
            reference computes).
        filters: `[kh, kw, C, m]` in the dtype of `x`; `m` is the depth multiplier. 1 to 64 rows and columns.
        rate: dilation, `(rows, columns)` or one int for both, 1 to 65536; may be larger than the map.
        padding: "same": zeros around, so that the size stays (as TensorFlow's SAME, with `pad = (k - 1) * rate // 2`
            before the first pixel); "valid": none, `h = H - (kh - 1) * rate[0]`.

    Returns:
        `[B, h, w, C * m]` in the dtype of `x`. Empty where `x` or `filters` are.

    Differentiable once with respect to `x` and `filters`. The compiled form and its gradients are bitwise equal from
    run to run and for any number of threads. For float32 at rate 1, where nothing is dilated, TensorFlow's own
    operation is faster and serves. Compiles under XLA where shapes are static; without XLA support (see
    `kseg.show_config`), call it within `with kseg_ops.use_reference():` there.

    Raises:
        TypeError: a dtype is not supported, or a tensor is a KerasTensor.
        ValueError: a static shape does not fit, or an argument is out of range.
        tf.errors.InvalidArgumentError: shapes known only at run time do not fit.

    Example:
        >>> x = tf.reshape(tf.range(5.0), [1, 1, 5, 1])
        >>> kseg_ops.depthwise_atrous_conv2d(x, tf.ones([1, 3, 1, 1]), rate=2).numpy().ravel()
        array([2., 4., 6., 4., 6.], dtype=float32)
    """
    reject_keras_tensors("depthwise_atrous_conv2d", "keras.layers.DepthwiseConv2D", x=x, filters=filters)
    rate = as_rate(rate)
    padding = as_padding(padding)
    x = tf.convert_to_tensor(x)
    if x.dtype not in _FLOATS:
        raise TypeError(f"x must be float32, float16, bfloat16 or float64, got {x.dtype.name}")
    filters = as_weights("filters", filters, x.dtype)
    check_shapes(x.shape, "filters", filters.shape, rate, padding)

    # Without dilation TensorFlow rearranges nothing, and its own operation in float32 is the faster one.
    stock = x.dtype == tf.float64 or (x.dtype == tf.float32 and rate == (1, 1))
    native = None if stock else _library.native_op("depthwise_atrous_conv2d")
    if native is None:
        return _reference(x, filters, rate, padding)
    return native(x=x, filters=filters, rate=rate, padding=padding)


def as_weights(name: str, value, dtype: tf.DType) -> tf.Tensor:
    """Filters as a tensor of `dtype`. TypeError for a tensor of another one."""
    given = getattr(value, "dtype", None)
    if given is not None and tf.as_dtype(given) != dtype:
        raise TypeError(f"{name} must have the dtype of x, {dtype.name}, got {tf.as_dtype(given).name}")
    return tf.convert_to_tensor(value, dtype)


def check_shapes(x: tf.TensorShape, name: str, filters: tf.TensorShape, rate, padding: str) -> None:
    """ValueError where what is known of the shapes of x and the filters called `name` does not fit."""
    if x.rank not in (None, 4):
        raise ValueError(f"x must have shape [B, H, W, C], got {x}")
    if filters.rank not in (None, 4):
        raise ValueError(f"{name} must have shape [kh, kw, C, m], got {filters}")
    if filters.rank is not None:
        check_kernel(name, filters.as_list())
    if x.rank is None or filters.rank is None:
        return
    if not x[3:].is_compatible_with(filters[2:3]):
        raise ValueError(f"{name} must have shape [kh, kw, C, m] with C = {x[3]} as x has, got {filters}")
    check_valid_padding(x.as_list()[1:3], filters.as_list()[:2], rate, padding)


@_library.register_gradient("Kseg>DepthwiseAtrousConv2d")
def _gradient(op: tf.Operation, gradient: tf.Tensor):
    x, filters = op.inputs
    attributes = {"rate": op.get_attr("rate"), "padding": op.get_attr("padding")}
    attributes["padding"] = tf.compat.as_str(attributes["padding"])
    of_input = _library.native_op("depthwise_atrous_conv2d_input_grad")
    of_filters = _library.native_op("depthwise_atrous_conv2d_filter_grad")
    if of_input is not None and of_filters is not None:
        inputs = {"x": x, "filters": filters, "output_gradient": gradient}
        return [of_input(**inputs, **attributes), of_filters(**inputs, **attributes)]
    with tf.GradientTape() as tape:
        tape.watch([x, filters])
        result = _reference(x, filters, tuple(attributes["rate"]), attributes["padding"])
    return tape.gradient(result, [x, filters], gradient)
