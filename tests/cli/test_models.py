"""Commands on models other than the U-Net."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from kseg_cli.main import main
from PIL import Image

import kseg
from tests.helpers.data_files import write_pair

CHOSEN = ("--model=fpn", "--backbone=resnet18", "--loss=lovasz+0.01*boundary")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for index in range(6):
        mask = np.zeros((32, 32), np.uint8)
        mask[index : index + 14, 4:18] = 1
        mask[0, :3] = 255
        image = np.stack([60 + 120 * (mask == 1)] * 3, -1).astype(np.uint8)
        write_pair(root, f"im{index}", image, mask)
    return root


@pytest.fixture(autouse=True, scope="module")
def _no_determinism_for_the_whole_process():
    # It cannot be switched off again.
    import tensorflow as tf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
        yield


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    command = ["train", "--data", str(data), "--out", str(folder), "--epochs=1", "--val-count=2", *CHOSEN]
    assert main(command) == 0
    return folder


def test_train(trained):
    model = keras.models.load_model(trained / "best.keras")
    assert type(model) is kseg.FPN
    assert type(model.backbone) is kseg.backbones.ResNet
    assert model.loss.weights == [1.0, 0.01]
    assert [type(loss) for loss in model.loss.losses] == [kseg.losses.LovaszSoftmax, kseg.losses.Boundary]
    settings = json.loads((trained / "config.json").read_text())["settings"]
    assert [f"--{name}={settings[name]}" for name in ("model", "backbone", "loss")] == list(CHOSEN)
    assert "FPN on data" in (trained / "report.html").read_text()


def test_resume_refuses_another_backbone(trained, capsys):
    assert main(["train", "--resume", str(trained), "--backbone", "resnet34"]) == 2
    assert "--backbone is resnet18 in this run, got resnet34" in capsys.readouterr().err


def test_evaluate(trained, data, capsys):
    assert main(["evaluate", str(trained), "--data", str(data)]) == 0
    assert "mean" in capsys.readouterr().out


def test_predict(trained, data, tmp_path):
    assert main(["predict", str(trained), str(data / "images" / "im0.png"), "--out", str(tmp_path)]) == 0
    with Image.open(data / "images" / "im0.png") as image:
        pixels = np.asarray(image)
    expected = kseg.predict(keras.models.load_model(trained / "best.keras"), pixels)
    written = [np.asarray(Image.open(path)) for path in tmp_path.rglob("im0*.png")]
    assert any(picture.shape == expected.shape and (picture == expected).all() for picture in written)


def test_export(trained, tmp_path):
    assert main(["export", str(trained), str(tmp_path / "served")]) == 0
    assert (tmp_path / "served" / "saved_model.pb").is_file()


def test_a_setting_that_the_model_lacks(data, tmp_path, capsys):
    command = ["train", "--data", str(data), "--out", str(tmp_path / "run"), "--model", "fcn", "--filters", "8"]
    assert main(command) == 2
    assert "filters: fcn has no such setting, got 8; leave it out." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
