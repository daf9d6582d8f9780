"""What layers around fused convolutions share: batch normalisation as an affine map, activations by name."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg_ops._atrous import as_rate
from kseg_ops._checks import as_padding

# Those that the ops compute.
_FUSED = {
    keras.activations.linear: "linear",
    keras.activations.relu: "relu",
    keras.activations.relu6: "relu6",
    keras.activations.hard_sigmoid: "hard_sigmoid",
    keras.activations.hard_silu: "hard_silu",
}


def fused_name(activation) -> str | None:
    """The name that the ops know a Keras activation by, or None if they do not."""
    return _FUSED.get(activation)


def fold(norm) -> tuple[tf.Tensor, tf.Tensor]:
    """The scale and the offset that a BatchNormalization comes to at inference; float32 under mixed precision, too."""
    mean, variance, gamma, beta = (
        tf.convert_to_tensor(weight) for weight in (norm.moving_mean, norm.moving_variance, norm.gamma, norm.beta)
    )
    scale = gamma * tf.math.rsqrt(variance + norm.epsilon)
    return scale, beta - mean * scale


def normalize_batch(norm, features) -> tf.Tensor:
    """What a BatchNormalization over channels gives in training, its moving averages brought up to date.

    By TensorFlow's fused op, which passes over the features a few times less than the layer's own arithmetic, forward
    and backward.
    """
    if features.dtype == tf.float64:  # which the op does not take
        return norm(features, training=True)
    gamma, beta, moving_mean, moving_variance = (
        tf.convert_to_tensor(weight) for weight in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    normalized, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        features, tf.cast(gamma, tf.float32), tf.cast(beta, tf.float32), epsilon=norm.epsilon, is_training=True
    )
    # The op gives the variance of the population estimated from the batch; Keras averages that of the batch.
    count = tf.cast(tf.reduce_prod(tf.shape(features)[:-1]), tf.float32)
    variance *= tf.maximum(count - 1, 1) / tf.maximum(count, 1)
    for weight, moving, value in (
        (norm.moving_mean, moving_mean, mean),
        (norm.moving_variance, moving_variance, variance),
    ):
        weight.assign(moving * norm.momentum + tf.cast(value, moving.dtype) * (1 - norm.momentum))
    return normalized


def normalize(norm, features, training) -> tf.Tensor:
    """What a BatchNormalization gives, in training or at inference."""
    return normalize_batch(norm, features) if uses_batch_statistics(norm, training) else norm(features, training=False)


def uses_batch_statistics(norm, training) -> bool:
    """Whether normalisation takes the statistics of the batch, as Keras's does."""
    return bool(training) and norm is not None and norm.trainable


def batch_norm(norm, dtype, name: str, momentum: float, epsilon: float):
    """A BatchNormalization, or None where `norm` is None."""
    if norm is None:
        return None
    return keras.layers.BatchNormalization(momentum=momentum, epsilon=epsilon, dtype=dtype, name=name)


def check_convolution_arguments(*, filters, norm, rate, padding="same") -> None:
    """ValueError naming the argument, what was expected and what came."""
    if not isinstance(filters, int) or isinstance(filters, bool) or filters < 1:
        raise ValueError(f"filters must be a positive int; got {filters!r}")
    if norm not in ("batch", None):
        raise ValueError(f'norm must be "batch" or None; got {norm!r}')
    as_rate(rate)
    as_padding(padding)


def kernel_pair(value) -> tuple[int, int]:
    """`kernel_size` as (rows, columns)."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in pair):
        raise ValueError(f"kernel_size must be a positive int or a pair of them; got {value!r}")
    return pair


def convolved_shape(input_shape, kernel_size, rate, padding: str, filters: int) -> tuple:
    """The shape of a convolution's output."""
    batch, *sizes, _ = input_shape
    if padding == "valid":
        reach = [(kernel - 1) * step for kernel, step in zip(kernel_pair(kernel_size), as_rate(rate), strict=True)]
        sizes = [None if size is None else size - lost for size, lost in zip(sizes, reach, strict=True)]
    return (batch, *sizes, filters)
