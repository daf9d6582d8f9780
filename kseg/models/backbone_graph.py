"""What models on a backbone have in common: its images, its features, its place in their configuration."""

from __future__ import annotations

import keras

from kseg._class_arguments import is_finite_number
from kseg.backbones import Backbone
from kseg.layers import Normalize
from kseg.layers.conv_block import fresh_initializer

DEFAULT_INPUT_SHAPE = (None, None, 3)


def as_backbone(backbone, input_shape=DEFAULT_INPUT_SHAPE, default=None):
    """The backbone of a model: the given one, restored if it comes from a configuration, or the default.

    Args:
        backbone: a `Backbone`, its serialised form, or None.
        input_shape: what the user gave to the model.
        default: makes the backbone for an input shape where none is given.

    Raises:
        TypeError: another kind of backbone.
        ValueError: a backbone and an input shape.
    """
    if backbone is None:
        return default(input_shape)
    if isinstance(backbone, dict):
        backbone = keras.saving.deserialize_keras_object(backbone)
    if not isinstance(backbone, Backbone):
        raise TypeError(
            f"backbone must be a kseg.backbones.Backbone; got {type(backbone).__name__}. "
            "kseg.backbones.from_keras(model) makes one of any functional Keras model"
        )
    if tuple(input_shape) not in (DEFAULT_INPUT_SHAPE, tuple(backbone.input_shape[1:])):
        raise ValueError(
            f"input_shape belongs to the default backbone, and the given one takes {tuple(backbone.input_shape[1:])}: "
            f"leave it out; got {input_shape!r}"
        )
    return backbone


def serialized_backbone(backbone):
    """For `get_config`."""
    return None if backbone is None else keras.saving.serialize_keras_object(backbone)


def images_and_features(backbone, input_range):
    """The model's input, and the pyramid that the backbone makes of it, within the current precision policy."""
    images, normalized = images_and_normalized(backbone, input_range)
    return images, backbone(normalized)


def images_and_normalized(backbone, input_range):
    """The model's input, and what the backbone should see of it, within the current precision policy."""
    images = keras.Input(backbone.input_shape[1:], name="images")
    if input_range is None:
        return images, images
    options = {}
    if backbone.pixel_mean is not None and len(backbone.pixel_mean) == images.shape[-1]:
        options = {"output_range": (0, 1), "mean": backbone.pixel_mean, "std": backbone.pixel_std}
    return images, Normalize(input_range, name="normalize", **options)(images)


def logits_layer(num_classes, kernel_size, name, kernel_initializer="glorot_uniform"):
    """The convolution that classifies, in full precision under every policy."""
    return keras.layers.Conv2D(
        num_classes,
        kernel_size,
        padding="same",
        kernel_initializer=fresh_initializer(keras.initializers.get(kernel_initializer)),
        dtype="float32",
        name=name,
    )


def check_rate(name, value):
    """Refuse what is no rate of a dropout.

    Raises:
        ValueError: naming the argument.
    """
    if not is_finite_number(value) or not 0 <= value < 1:
        raise ValueError(f"{name} must be a rate in [0, 1); got {value!r}")


def level_number(level):
    """3 for "P3"."""
    return int(level[1:])


def check_levels(backbone, levels, model):
    """Refuse a backbone that lacks levels.

    Raises:
        ValueError: naming those that are missing.
    """
    missing = [level for level in levels if level not in backbone.strides]
    if missing:
        raise ValueError(
            f"backbone must have the levels {', '.join(levels)} for {model}; {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing, it has {', '.join(backbone.strides)}"
        )
