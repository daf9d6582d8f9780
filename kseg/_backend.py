"""The one place that decides whether kseg can run on what is installed."""

from __future__ import annotations

import importlib.util
import os

_EXTRAS = 'pip install "kseg[tf]"  (with GPU support) or  pip install "kseg[tf-cpu]"  (CPU only)'


def require_tensorflow() -> None:
    """Check that TensorFlow is installed and is the backend that Keras uses.

    TensorFlow is no hard dependency of kseg, because a requirement on ``tensorflow`` would overwrite a user's
    ``tensorflow-cpu``; it comes through the extras, which this error names.

    Raises:
        ImportError: TensorFlow is missing, Keras is missing, or Keras runs (or is told to run) on another backend.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(f"kseg needs TensorFlow, which is not installed. Install one of: {_EXTRAS}")
    if importlib.util.find_spec("keras") is None:
        raise ImportError(f"kseg needs Keras 3, which is not installed. It comes with: {_EXTRAS}")
    # Asked before Keras is imported: with KERAS_BACKEND=jax and no JAX, Keras's own import fails in a less helpful way.
    _require_backend(os.environ.get("KERAS_BACKEND") or "tensorflow", "the environment variable KERAS_BACKEND")
    import keras

    # The environment variable may be unset and ~/.keras/keras.json may name another backend.
    _require_backend(keras.config.backend(), "the running Keras (environment at its import, or ~/.keras/keras.json)")


def _require_backend(backend: str, source: str) -> None:
    if backend != "tensorflow":
        raise ImportError(
            f"kseg runs on Keras's TensorFlow backend, but {source} says {backend!r}. "
            "Set KERAS_BACKEND=tensorflow before anything imports keras."
        )
