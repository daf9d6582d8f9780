from __future__ import annotations

import json

import tensorflow as tf
from kseg_cli.main import main

import kseg
from tests.helpers.detector_cases import tiny_detector


def test_export(tmp_path, capsys):
    model = tiny_detector(kseg.FasterRCNN, levels=(2, 3), anchor_sizes=(12, 20, 32), input_range=(0, 1))
    model.save(tmp_path / "m.keras")
    out = tmp_path / "served"
    assert main(["export", str(tmp_path / "m.keras"), str(out), "--size", "32", "48"]) == 0
    assert f"Exported to {out}" in capsys.readouterr().out
    facts = json.loads((out / "assets.extra" / "kseg_export.json").read_text())
    assert facts["size"] == [32, 48]
    assert facts["custom_ops"] == []
    assert set(tf.saved_model.load(out).signatures) == {"serving_default", "detections_float", "detections_float_sizes"}
