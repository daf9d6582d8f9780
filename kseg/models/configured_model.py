"""What kseg's models have in common: configuration, default compilation, export, frozen batch normalisation."""

from __future__ import annotations

import contextvars

import keras

from kseg.models.frozen_norms import freeze_batch_norms

_build_compiled = contextvars.ContextVar("kseg_build_compiled", default=True)


class ConfiguredModel:
    """Comes before `keras.Model` among the bases of a model.

    The model's constructor calls `freeze_batch_norms_for_good`, keeps its arguments with `keep_arguments`, which makes
    `get_config` and saving work, and calls `compile_default` last.
    """

    frozen_batch_norm = False

    def keep_arguments(self, **arguments):
        """Keep the constructor's arguments, unmodified, for `get_config`."""
        self._arguments = _Arguments(arguments)

    def get_config(self):
        """The constructor's arguments, and the precision policy that the model was built with."""
        policy = keras.dtype_policies.serialize(self.dtype_policy)
        frozen = {"frozen_batch_norm": True} if self.frozen_batch_norm else {}
        kept = getattr(self, "_arguments", _Arguments({}))
        return {**kept.values, **frozen, "name": self.name, "trainable": self.trainable, "dtype": policy}

    @classmethod
    def from_config(cls, config):
        """Build the model, not compiled."""
        token = _build_compiled.set(False)
        try:
            return cls(**{name: _restored(name, value) for name, value in config.items()})
        finally:
            _build_compiled.reset(token)

    def compile_default(self):
        """Compile with the defaults, unless the model is being built from a configuration."""
        if _build_compiled.get():
            self.compile()

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            config["optimizer_built"] = bool(self.optimizer.built)
        return config

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config)
        # An optimizer that had taken no step was saved without its slots: built here, it would not find them in the
        # file, and loading a fresh model would warn.
        built = config.pop("optimizer_built", True)
        self.compile(**config)
        if built:
            self.optimizer.build(self.trainable_variables)

    def export(self, filepath, **kwargs):
        """Write a SavedModel for serving, of stock TensorFlow ops unless told otherwise: `kseg.export(self, ...)`."""
        from kseg.exporting.export import export

        return export(self, filepath, **kwargs)

    def freeze_batch_norms_for_good(self, frozen):
        """Whether every BatchNormalization keeps its statistics, gamma and beta, whatever `trainable` says."""
        self.frozen_batch_norm = bool(frozen)
        if frozen:
            freeze_batch_norms(self)

    @property
    def trainable(self):
        return super().trainable

    @trainable.setter
    def trainable(self, value):
        keras.Model.trainable.fset(self, value)
        if self.frozen_batch_norm:
            freeze_batch_norms(self)


class _Arguments:
    """Holds the constructor's arguments where Keras's attribute tracking does not wrap lists and tuples."""

    def __init__(self, values):
        self.values = values


_TUPLES = ("input_shape", "input_range", "decoder_filters", "rates", "sizes")  # where they are usually given as such


def _restored(name, value):
    """A saved argument as it was given: JSON turns tuples into lists."""
    return tuple(value) if name in _TUPLES and isinstance(value, list) else value
