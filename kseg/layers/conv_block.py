"""The convolution, normalisation, activation sequence of encoder-decoder networks."""

from __future__ import annotations

import math

import keras

from kseg._class_arguments import is_finite_number

NORMS = ("batch", "group", None)
BATCH_NORM_MOMENTUM = 0.9
MAX_GROUPS = 32  # of group normalisation: the default of its paper


@keras.saving.register_keras_serializable(package="kseg")
class ConvBlock(keras.layers.Layer):
    """`repeats` times (convolution, normalisation, activation), and dropout at the end if asked for.

    The defaults are the block of the U-Net (Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical
    Image Segmentation", 2015, https://arxiv.org/abs/1505.04597) with the batch normalisation that later work added.

    Args:
        filters: output channels of every convolution.
        kernel_size: int.
        repeats: number of convolutions.
        norm: `"batch"` (with momentum 0.9), `"group"` (Wu and He 2018, https://arxiv.org/abs/1803.08494; the number of
            groups is the greatest common divisor of `filters` and 32) or None. The convolutions have a bias only
            without one.
        activation: name or callable, as in Keras.
        dropout: rate of the dropout after the last activation; 0 is none.
        padding: `"same"` or `"valid"` (each convolution then takes `kernel_size - 1` pixels away).
        kernel_initializer: as in Keras. The default is the U-Net paper's: Gaussian with variance 2 / fan-in.
        **kwargs: `name`, `dtype`.

    Call arguments:
        inputs: `(B, H, W, C)`.
        training: whether normalisation and dropout run in training mode.

    Returns:
        `(B, H', W', filters)` in the compute dtype.

    Raises:
        ValueError: an unknown `norm` or `padding`; a number outside its range.

    Example:
        >>> images = keras.Input((None, None, 3))
        >>> features = ConvBlock(16, norm="group")(images)
    """

    def __init__(
        self,
        filters,
        kernel_size=3,
        repeats=2,
        norm="batch",
        activation="relu",
        dropout=0.0,
        padding="same",
        kernel_initializer="he_normal",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_block_arguments(filters=filters, norm=norm, dropout=dropout, padding=padding)
        if repeats < 1:
            raise ValueError(f"repeats must be at least 1; got {repeats!r}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.repeats = repeats
        self.norm = norm
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.padding = padding
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

        self.steps = []
        for index in range(repeats):
            self.steps.append(
                keras.layers.Conv2D(
                    filters,
                    kernel_size,
                    padding=padding,
                    use_bias=norm is None,
                    kernel_initializer=fresh_initializer(self.kernel_initializer),
                    dtype=self.dtype_policy,
                    name=f"conv_{index}",
                )
            )
            if norm is not None:
                self.steps.append(_norm_layer(norm, filters, self.dtype_policy, f"norm_{index}"))
            self.steps.append(
                keras.layers.Activation(self.activation, dtype=self.dtype_policy, name=f"activation_{index}")
            )
        if dropout:
            self.steps.append(keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="dropout"))

    def build(self, input_shape):
        for step in self.steps:
            step.build(input_shape)
            input_shape = step.compute_output_shape(input_shape)
        self.built = True

    def call(self, inputs, training=None):
        features = inputs
        for step in self.steps:
            if isinstance(step, (keras.layers.BatchNormalization, keras.layers.Dropout)):
                features = step(features, training=training)
            else:
                features = step(features)
        return features

    def compute_output_shape(self, input_shape):
        lost = 0 if self.padding == "same" else self.repeats * (self.kernel_size - 1)
        batch, height, width, _ = input_shape
        return (batch, *(None if size is None else size - lost for size in (height, width)), self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "repeats": self.repeats,
            "norm": self.norm,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "padding": self.padding,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def check_block_arguments(*, filters, norm, dropout, padding):
    """Check what `ConvBlock`, `DownBlock` and `UpBlock` have in common.

    Raises:
        ValueError: naming the argument, what was expected and what came.
    """
    if not isinstance(filters, int) or isinstance(filters, bool) or filters < 1:
        raise ValueError(f"filters must be a positive int; got {filters!r}")
    if norm not in NORMS:
        raise ValueError(f'norm must be "batch", "group" or None; got {norm!r}')
    if not is_finite_number(dropout) or not 0 <= dropout < 1:
        raise ValueError(f"dropout must be a rate in [0, 1); got {dropout!r}")
    if padding not in ("same", "valid"):
        raise ValueError(f'padding must be "same" or "valid"; got {padding!r}')


def fresh_initializer(initializer):
    """A new initializer with the same settings.

    One initializer object draws the same numbers every time it is called for one shape, so layers must not share it.
    """
    return keras.initializers.get(keras.initializers.serialize(initializer))


def _norm_layer(norm, filters, dtype, name):
    if norm == "batch":
        # Keras's momentum of 0.99 remembers hundreds of steps, of which a small segmentation set has few.
        return keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, dtype=dtype, name=name)
    return keras.layers.GroupNormalization(groups=math.gcd(filters, MAX_GROUPS), dtype=dtype, name=name)
