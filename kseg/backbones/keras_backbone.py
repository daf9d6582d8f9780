"""Any functional Keras model as a backbone."""

from __future__ import annotations

import keras

from kseg._class_arguments import is_finite_number
from kseg._dtype_scope import dtype_scope
from kseg.backbones._levels import find_levels
from kseg.backbones.backbone import Backbone


@keras.saving.register_keras_serializable(package="kseg")
class KerasBackbone(Backbone):
    """The feature maps of a functional Keras model, as `kseg.backbones.from_keras` makes it, which says more.

    Args:
        model: functional, with one input `(B, H, W, channels)`; or its serialised form.
        pixel_mean: per channel, in units of 0..1, or None.
        pixel_std: likewise.
        name: of the backbone.
        dtype: precision policy of the backbone itself; its layers keep the model's.
        **kwargs: `trainable`.

    Raises:
        TypeError: no functional model.
        ValueError: a model with several inputs or without feature maps; statistics that are no numbers per channel.
    """

    def __init__(self, model, pixel_mean=None, pixel_std=None, name="backbone", dtype=None, **kwargs):
        if isinstance(model, dict):
            model = keras.saving.deserialize_keras_object(model)
        _check_model(model)
        _check_statistics(model, pixel_mean, pixel_std)
        source, levels = find_levels(model)
        deepest = list(levels.values())[-1]
        trunk = keras.Model(source, deepest, name=model.name)  # without what comes after the features
        with dtype_scope(dtype):
            super().__init__(
                source,
                levels,
                strides={level: 2 ** int(level[1:]) for level in levels},
                pixel_mean=None if pixel_mean is None else tuple(pixel_mean),
                pixel_std=None if pixel_std is None else tuple(pixel_std),
                name=name,
                **kwargs,
            )
        # Serialised at once: Keras names layers by the calls that a model consists of, and others may follow.
        self.keep_arguments(
            model=keras.saving.serialize_keras_object(trunk), pixel_mean=pixel_mean, pixel_std=pixel_std
        )


def _check_model(model):
    functional = isinstance(model, keras.Model) and getattr(model, "inputs", None) and getattr(model, "outputs", None)
    if not functional:
        raise TypeError(
            "model must be a functional Keras model, or a Sequential one with an Input; got "
            f"{type(model).__name__}. A subclassed model has no graph in which features could be found"
        )
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
        raise ValueError(f"model must have one input of shape (B, H, W, channels); {model.name} has {shapes}")


def _check_statistics(model, pixel_mean, pixel_std):
    if (pixel_mean is None) != (pixel_std is None):
        raise ValueError("pixel_mean and pixel_std must be given together, or neither of them")
    channels = model.inputs[0].shape[-1]
    for name, value in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
        if value is None:
            continue
        numbers = list(value) if isinstance(value, (list, tuple)) else []
        if len(numbers) != channels or not all(is_finite_number(number) for number in numbers):
            raise ValueError(f"{name} must hold one finite number per channel of the images, {channels}; got {value!r}")
