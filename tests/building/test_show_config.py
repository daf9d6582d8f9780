"""kseg.show_config(): complete where everything works, and an answer in every other state."""

from __future__ import annotations

import platform

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg
import kseg_ops
from kseg import _config
from kseg_ops import _library, build


def test_it_tells_the_truth(capsys):
    config = kseg.show_config()
    assert config["versions"] == {
        "kseg": kseg_ops.__version__,
        "Python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
    assert sorted(config["ops"]) == sorted(build.list_ops())
    native = {op for op, state in config["ops"].items() if state == "native"}
    assert native == {op for op in config["ops"] if _library.native_op(op) is not None}
    if core := _library.core():
        assert config["simd"] == {"in_use": core.simd_target(), "supported": core.supported_simd_targets()}
    assert config["threads"]["cpus"] >= 1
    assert any("CPU" in name for name in config["devices"])
    text = capsys.readouterr().out
    for key in ("versions", "ops", "simd", "threads", "devices", "xla", "build"):
        assert f"{key}:" in text
    assert f"  tensorflow: {tf.__version__}\n" in text


def test_quiet(capsys):
    kseg.show_config(verbose=False)
    assert capsys.readouterr().out == ""


def test_without_the_library(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(_library, "NATIVE_DIR", tmp_path)
    monkeypatch.setenv("KSEG_NATIVE", "0")
    config = kseg.show_config()
    assert set(config["ops"].values()) == {"reference (KSEG_NATIVE=0)"}
    assert config["simd"] == {"in_use": "none (the compiled library is not in use)", "supported": []}
    assert config["build"] == {"problems": ["The library was never compiled here."]}
    assert "never compiled here" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["_versions", "_simd", "_threads", "_devices", "_build"])
def test_a_part_that_fails_costs_that_part_only(monkeypatch, name, capsys):
    def fails():
        raise OSError("broken")

    monkeypatch.setattr(_config, name, fails)
    config = kseg.show_config()
    assert config[name.strip("_")] == "unknown (OSError: broken)"
    assert f"{name.strip('_')}: unknown (OSError: broken)" in capsys.readouterr().out
    assert "unknown" not in str(config["ops"])
