"""The contract between backbones and decoders."""

from __future__ import annotations

import keras


@keras.saving.register_keras_serializable(package="kseg")
class Backbone(keras.Model):
    """A functional Keras model from an image to a pyramid of features.

    The output is a dictionary `{"P1": features, "P2": features, ...}`, the finest first; without an output stride Pn
    has stride `2**n`, with one the deep levels stay at that stride. An architecture without some level leaves it out;
    one with features in the image's own resolution has a level P0, too.
    Decoders take the dictionary, with `strides` and `channels` of its levels, and never ask which network made it.

    A subclass builds its graph, calls this constructor and keeps its arguments with `keep_arguments`, which makes
    `get_config` and saving work. Its layers are named after those of the network that it follows.

    Args:
        inputs: the Keras input `(B, H, W, channels)`.
        outputs: the features of each level, a Keras tensor `(B, h, w, C)` each, by name, the finest first.
        strides: the stride of each level, by name.
        pixel_mean: per channel, what models subtract from pixels that were scaled to 0..1; None leaves it to them.
        pixel_std: per channel, by what models then divide.
        **kwargs: `name`, `trainable`.

    Attributes:
        strides: the stride of each level, by name.
        channels: the channels of each level, by name.
        pixel_mean, pixel_std: the statistics of the pixels that the published weights were trained on, in units of
            0..1, or None.

    Raises:
        ValueError: levels that are not named P0, P1, P2, ... from fine to coarse, or strides that name others.
    """

    def __init__(self, inputs, outputs, *, strides, pixel_mean=None, pixel_std=None, **kwargs):
        _check_levels(outputs, strides)
        super().__init__(inputs=inputs, outputs=dict(outputs), **kwargs)
        self.strides = dict(strides)
        self.channels = {level: int(features.shape[-1]) for level, features in outputs.items()}
        self.pixel_mean = pixel_mean
        self.pixel_std = pixel_std
        self._arguments = _Arguments(None)

    def keep_arguments(self, **arguments):
        """Keep the constructor's arguments, unmodified, for `get_config`."""
        self._arguments = _Arguments(arguments)

    def get_config(self):
        """The constructor's arguments, and the precision policy that the backbone was built with.

        Raises:
            NotImplementedError: the backbone was made of inputs and outputs, of which no configuration is kept.
        """
        if self._arguments.values is None:
            raise NotImplementedError(
                f"{type(self).__name__} has no configuration: write a subclass that builds its graph itself and calls "
                "keep_arguments"
            )
        policy = keras.dtype_policies.serialize(self.dtype_policy)
        return {**self._arguments.values, "name": self.name, "trainable": self.trainable, "dtype": policy}

    @classmethod
    def from_config(cls, config):
        shape = config.get("input_shape")
        return cls(**{**config, "input_shape": tuple(shape)} if isinstance(shape, list) else config)


class _Arguments:
    """Holds the constructor's arguments where Keras's attribute tracking does not wrap lists and tuples."""

    def __init__(self, values):
        self.values = values


def _check_levels(outputs, strides):
    names = list(outputs)
    numbers = [int(name[1:]) if name[:1] == "P" and name[1:].isdigit() else -1 for name in names]
    if not names or -1 in numbers or numbers != sorted(set(numbers)):
        raise ValueError(f'outputs must be named "P0", "P1", "P2", ... from fine to coarse; got {names}')
    if set(strides) != set(names):
        raise ValueError(f"strides must name the levels of outputs, {names}; got {list(strides)}")
