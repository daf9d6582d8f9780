"""What depthwise atrous convolution means, in stock TensorFlow."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops._atrous import output_size


def depthwise_atrous_conv2d(x, filters, rate: tuple[int, int] = (1, 1), padding: str = "same") -> tf.Tensor:
    """Depthwise dilated convolution; `kseg_ops.depthwise_atrous_conv2d` documents the arguments.

    Sums are float32 (float64 for float64) also where values are 16-bit, which TensorFlow's own operation leaves open.
    """
    dtype = x.dtype
    x, filters = (tf.ensure_shape(tensor, [None] * 4) for tensor in (x, filters))
    if dtype.size < 4:
        x, filters = tf.cast(x, tf.float32), tf.cast(filters, tf.float32)
    filters = tf.ensure_shape(filters, [None, None, x.shape[3], None])
    if tuple(rate) != (1, 1) and not filters.shape.is_fully_defined():
        raise ValueError(
            f"filters must have a known shape where the compiled operator is not in use, got {filters.shape}; "
            "tf.ensure_shape(filters, [kh, kw, C, m]) says what it is"
        )
    known = [
        output_size(size, taps, step, padding)
        for size, taps, step in zip(x.shape[1:3].as_list(), filters.shape[:2].as_list(), rate, strict=True)
    ]
    if 0 in x.shape.as_list() or 0 in filters.shape.as_list() or 0 in known:
        return tf.cast(_nothing(x, filters, rate, padding), dtype)
    if padding == "same":
        # TensorFlow pads with as many zeros as the rate asks for. Beyond twice the map, taps meet nothing but padding;
        # whether they are an odd number of pixels apart does not matter there.
        rate = tuple(
            step if size is None else min(step, 2 * size + 1)
            for step, size in zip(rate, x.shape[1:3].as_list(), strict=True)
        )
    result = tf.nn.depthwise_conv2d(x, filters, [1, 1, 1, 1], padding.upper(), dilations=list(rate))
    shape = _output_shape(x, filters, rate, padding)
    if all(isinstance(size, int) for size in shape):
        return tf.cast(tf.ensure_shape(result, shape), dtype)
    # For a batch of no images its shape would be that of the padded map, for an empty result that of x. Cutting that
    # off copies the result, and pads the gradient: only where the sizes may call for it.
    if padding != "same" or not filters.shape.is_fully_defined():
        result = tf.reshape(result, [-1])[: tf.reduce_prod(shape)]
    return tf.cast(tf.reshape(result, shape), dtype)


def _output_shape(x, filters, rate, padding) -> list:
    """A list of ints, and of scalars where they are known only at run time."""
    dynamic_x, dynamic_filters = tf.shape(x), tf.shape(filters)
    at = [known if known is not None else dynamic_x[i] for i, known in enumerate(x.shape.as_list())]
    taps = [known if known is not None else dynamic_filters[i] for i, known in enumerate(filters.shape.as_list())]
    rows, columns = (output_size(at[i + 1], taps[i], rate[i], padding) for i in (0, 1))
    return [at[0], rows, columns, at[3] * taps[3]]


def _nothing(x, filters, rate, padding) -> tf.Tensor:
    """The result where x or filters have no elements: no product to sum, so zeros, connected to both."""
    zero = tf.reduce_sum(x) * 0 + tf.reduce_sum(filters) * 0
    return tf.zeros(_output_shape(x, filters, rate, padding), x.dtype) + zero
