"""Max pooling that tells where each maximum was."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import as_padding, as_window, reject_keras_tensors
from kseg_ops.reference.max_pool_with_indices import max_pool_with_indices as _reference

_FLOATS = (tf.float32, tf.float16, tf.bfloat16, tf.float64)


@tf.autograph.experimental.do_not_convert
def max_pool_with_indices(
    x, pool_size: int | tuple[int, int] = 2, strides: int | tuple[int, int] | None = None, padding: str = "valid"
) -> tuple[tf.Tensor, tf.Tensor]:
    """Max pooling with the place of each maximum, for `kseg_ops.max_unpool2d` to put values back to.

    As in SegNet (Badrinarayanan, Kendall and Cipolla 2017, "SegNet: A Deep Convolutional Encoder-Decoder Architecture
    for Image Segmentation", section 3).

    ```
    x (one channel)      pool_size=2:  y       indices = row * 4 + column
    1 5 | 2 0                          5 8     1 7
    3 4 | 7 8                          9 6     8 15
    ----+----
    9 0 | 1 2
    0 0 | 3 6
    ```

    Args:
        x: float32, float16, bfloat16 or float64 `[B, H, W, C]`, with fewer than 2**31 pixels per image.
        pool_size: height and width of the windows, 1 to 2**20, or one int for both.
        strides: distance of the windows, or None for `pool_size`.
        padding: "valid": only windows that lie inside the image, `(size - pool) // stride + 1` of them (none if the
            image is smaller than a window). "same": `ceil(size / stride)` windows, placed as TensorFlow places them;
            what lies outside the image is never a maximum.

    Returns:
        `y`, `[B, h, w, C]` in the dtype of `x`, and `indices`, int32 of that shape: `row * W + column` of the maximum,
        counted in its own image and channel. That is PyTorch's convention (`torch.nn.MaxPool2d(return_indices=True)`,
        there int64 and channels first). `tf.nn.max_pool_with_argmax` counts `(row * W + column) * C + channel` instead.
        Of equal values the first in raster order counts. NaN counts as larger than every number, as in PyTorch (which
        takes the last NaN of a window, though).

    The gradient with respect to `x` is deterministic in the compiled form: windows that share a maximum add up in
    raster order. There is no second derivative.

    Compiles under XLA where shapes are static; without XLA support (see `kseg.show_config`), call it within
    `with kseg_ops.use_reference():` there.

    Raises:
        TypeError: `x` is of another dtype or a KerasTensor, or `pool_size` or `strides` is not of integers.
        ValueError: `x` is known not to have four axes, or an argument is out of range.
        tf.errors.InvalidArgumentError: the same, known at run time only.

    Example:
        >>> x = tf.constant([[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 7.0, 8.0]])[None, :, :, None]
        >>> y, indices = kseg_ops.max_pool_with_indices(x)
        >>> y[0, :, :, 0].numpy(), indices[0, :, :, 0].numpy()
        (array([[5., 8.]], dtype=float32), array([[1, 7]], dtype=int32))
    """
    reject_keras_tensors("max_pool_with_indices", "kseg.layers.MaxPoolingWithIndices2D", x=x)
    pool_size = as_window("pool_size", pool_size)
    strides = pool_size if strides is None else as_window("strides", strides)
    padding = as_padding(padding)
    x = tf.convert_to_tensor(x)
    if x.dtype not in _FLOATS:
        raise TypeError(f"x must be float32, float16, bfloat16 or float64, got {x.dtype.name}")
    if x.shape.rank not in (None, 4):
        raise ValueError(f"x must have shape [B, H, W, C], got {x.shape}")
    native = _library.native_op("max_pool_with_indices")
    if native is None:
        y, indices = _reference(x, pool_size, strides, padding)
    else:
        y, indices = native(x=x, pool_size=pool_size, strides=strides, padding=padding)
    return y, indices


def _attributes(op: tf.Operation) -> dict:
    padding = op.get_attr("padding")
    return {
        "pool_size": tuple(op.get_attr("pool_size")),
        "strides": tuple(op.get_attr("strides")),
        "padding": padding.decode() if isinstance(padding, bytes) else padding,
    }


@_library.register_gradient("Kseg>MaxPoolWithIndices")
def _max_pool_with_indices_gradient(op: tf.Operation, gradient: tf.Tensor, _):
    (x,) = op.inputs
    native = _library.native_op("max_pool_with_indices_grad")
    if native is not None:
        return native(y_gradient=gradient, indices=op.outputs[1], x_shape=tf.shape(x), **_attributes(op))
    # The forward pass was native and this one is not to be, as in `with use_reference(): tape.gradient(...)`.
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, _ = _reference(x, **_attributes(op))
    return tape.gradient(y, x, gradient)
