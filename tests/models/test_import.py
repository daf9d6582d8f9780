"""What `import kseg` needs, does and leaves alone."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

import kseg
from kseg import _backend


def run(code, **environment):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


def test_import_leaves_the_rare_parts_alone():
    code = """
import sys, tensorflow, keras
before = set(sys.modules)  # Keras imports some of these itself, where they are installed
import kseg
rare = ("matplotlib", "PIL", "tifffile", "rich", "skimage", "kseg.data", "kseg.viz", "kseg.training", "kseg.inference",
        "kseg.exporting", "kseg.callbacks", "kseg_cli")
print([name for name in rare if name in set(sys.modules) - before])
import kseg.layers, kseg.data
print(kseg.data is sys.modules["kseg.data"])
"""
    result = run(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[:2] == ["[]", "True"]


def test_load_model_needs_only_the_import(tmp_path):
    kseg.UNet(2, filters=2, depth=2).save(tmp_path / "model.keras")
    code = f"import keras, kseg; print(type(keras.models.load_model({str(tmp_path / 'model.keras')!r})).__name__)"
    assert run(code).stdout.strip() == "UNet"


def test_missing_tensorflow_names_the_extras(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find(name))
    with pytest.raises(ImportError, match=r'needs TensorFlow.*pip install "kseg\[tf\]".*pip install "kseg\[tf-cpu\]"'):
        _backend.require_tensorflow()


def test_missing_keras(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "keras" else find(name))
    with pytest.raises(ImportError, match="needs Keras 3"):
        _backend.require_tensorflow()


def test_another_backend_is_named():
    result = run("import kseg", KERAS_BACKEND="jax")
    assert result.returncode == 1
    assert "KERAS_BACKEND says 'jax'. Set KERAS_BACKEND=tensorflow before anything imports keras." in result.stderr


def test_another_backend_in_the_configuration_file(monkeypatch):
    import keras

    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(ImportError, match=r"keras\.json\) says 'torch'"):
        _backend.require_tensorflow()


def test_public_names():
    for name in ("UNet", "SegmentationModel", "layers", "losses", "metrics", "models"):
        assert name in dir(kseg)
    assert {"predict", "export", "show_config", "data"} <= set(dir(kseg))
    assert kseg.__version__
    with pytest.raises(AttributeError, match="module 'kseg' has no attribute 'Unet'"):
        kseg.Unet  # noqa: B018
