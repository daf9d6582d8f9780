"""Max unpooling: pooled values back to where they came from."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import MAX_MAP_SIZE, as_unpooled_size, reject_keras_tensors
from kseg_ops._tensors import to_int32, to_int64
from kseg_ops.reference.max_unpool2d import max_unpool2d as _reference

_FLOATS = (tf.float32, tf.float16, tf.bfloat16, tf.float64)


@tf.autograph.experimental.do_not_convert
def max_unpool2d(y, indices, output_size) -> tf.Tensor:
    """Puts each value at the place that its index names, and 0 everywhere else.

    The inverse of `kseg_ops.max_pool_with_indices` up to what pooling loses (Badrinarayanan, Kendall and Cipolla 2017,
    "SegNet", section 3.1). Equals `torch.nn.functional.max_unpool2d` but for the layout, channels last, where no two
    indices are equal.

    Args:
        y: float32, float16, bfloat16 or float64 `[B, h, w, C]`.
        indices: integer tensor of the shape of `y`: `row * W + column`, counted in its own image and channel and in the
            width of the result, as `max_pool_with_indices` and PyTorch count. `0..H * W - 1`.
        output_size: height and width `(H, W)` of the result, two Python ints or an integer tensor `[2]`: the size of
            what was pooled. Another width would put values into wrong rows, without an error.

    Returns:
        `[B, H, W, C]` in the dtype of `y`. Where several indices name one place, as those of overlapping windows may,
        the last in raster order counts. (PyTorch leaves this open. After pooling all of them have the same value.)

    The gradient with respect to `y` is deterministic, and 0 for values that another one has replaced. There is no
    second derivative.

    Compiles under XLA where shapes are static; without XLA support (see `kseg.show_config`), call it within
    `with kseg_ops.use_reference():` there.

    Raises:
        TypeError: `y` is not floating, `indices` or `output_size` not integer, or an argument is a KerasTensor.
        ValueError: shapes are known not to fit, or `output_size` is out of range.
        tf.errors.InvalidArgumentError: the same, known at run time only; an index is out of range (the message names
            it).

    Example:
        >>> y = tf.constant([[5.0, 8.0]])[None, :, :, None]
        >>> indices = tf.constant([[1, 7]])[None, :, :, None]
        >>> kseg_ops.max_unpool2d(y, indices, (2, 4))[0, :, :, 0].numpy()
        array([[0., 5., 0., 0.],
               [0., 0., 0., 8.]], dtype=float32)
    """
    reject_keras_tensors("max_unpool2d", "kseg.layers.MaxUnpooling2D", y=y, indices=indices, output_size=output_size)
    y = tf.convert_to_tensor(y)
    if y.dtype not in _FLOATS:
        raise TypeError(f"y must be float32, float16, bfloat16 or float64, got {y.dtype.name}")
    indices = tf.convert_to_tensor(indices)
    if not indices.dtype.is_integer:
        raise TypeError(f"indices must be integers, got {indices.dtype.name}")
    if y.shape.rank not in (None, 4):
        raise ValueError(f"y must have shape [B, h, w, C], got {y.shape}")
    if not y.shape.is_compatible_with(indices.shape):
        raise ValueError(f"indices must have the shape of y, {y.shape}, got {indices.shape}")
    # Saturating: a large int64 must not wrap around into a valid index.
    indices = to_int32(indices)
    size = _size_tensor(output_size)
    native = _library.native_op("max_unpool2d")
    return _reference(y, indices, size) if native is None else native(y=y, indices=indices, output_size=size)


def _size_tensor(size) -> tf.Tensor:
    # An element may itself be a scalar tensor, as in (tf.shape(image)[1], 512).
    if not tf.is_tensor(size) and not (
        isinstance(size, (list, tuple)) and len(size) == 2 and any(tf.is_tensor(number) for number in size)
    ):
        return tf.constant(as_unpooled_size(size), tf.int32)
    size = tf.convert_to_tensor(size)
    if not size.dtype.is_integer:
        raise TypeError(f"output_size must be of an integer type, got dtype {size.dtype.name}")
    if not size.shape.is_compatible_with([2]):
        raise ValueError(f"output_size must have shape [2], (height, width), got shape {size.shape}")
    wide = to_int64(size)
    fits = tf.debugging.Assert(
        tf.reduce_all((wide >= 0) & (wide <= MAX_MAP_SIZE))
        & (tf.reduce_prod(tf.cast(wide, tf.float64)) <= MAX_MAP_SIZE),
        ["output_size must not be negative and must have fewer than 2**31 pixels, got", wide],
    )
    with tf.control_dependencies([] if fits is None else [fits]):
        return tf.identity(to_int32(size))


@_library.register_gradient("Kseg>MaxUnpool2d")
def _max_unpool2d_gradient(op: tf.Operation, gradient: tf.Tensor):
    y, indices, output_size = op.inputs
    native = _library.native_op("max_unpool2d_grad")
    if native is not None:
        return [native(x_gradient=gradient, indices=indices), None, None]
    # The forward pass was native and this one is not to be. The op is linear: where it is differentiated is the same.
    with tf.GradientTape() as tape:
        tape.watch(y)
        x = _reference(y, indices, output_size)
    return [tape.gradient(x, y, gradient), None, None]
