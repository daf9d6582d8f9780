"""`kseg convert`."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from kseg_cli.architectures import BACKBONES, MODELS, PUBLISHED_BACKBONES, PUBLISHED_MODELS
from kseg_cli.main import main

pytest.importorskip("safetensors", reason="the checkpoints are .safetensors files")

from safetensors.numpy import save_file

import kseg
from kseg.weights import torchvision
from tests.helpers.seeded_weights import seeded_images, seeded_state


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """torchvision's smallest network, as a file, and kseg's with the same weights."""
    path = tmp_path_factory.mktemp("published") / "lraspp.safetensors"
    model = kseg.LRASPP(5)
    save_file(seeded_state({slot.name: slot.shape for slot in torchvision.model_slots(model)}), path)
    kseg.weights.load(model, path)
    return path, model


def test_convert_writes_a_model(published, tmp_path, capsys):
    path, model = published
    out = tmp_path / "model.keras"
    assert main(["convert", str(path), str(out), "--model", "lraspp", "--num-classes", "5"]) == 0
    assert "of torchvision from" in capsys.readouterr().out
    images = 40 * seeded_images(3, 33, 47) + 120
    np.testing.assert_array_equal(
        keras.models.load_model(out, compile=False)(images, training=False), model(images, training=False)
    )


def test_convert_writes_weights(published, tmp_path):
    path, model = published
    out = tmp_path / "model.weights.h5"
    assert main(["convert", str(path), str(out), "--model", "lraspp", "--num-classes", "5"]) == 0
    fresh = kseg.LRASPP(5)
    fresh.load_weights(out)
    for weight, expected in zip(fresh.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected.numpy())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"OUT": "model.h5"}, "OUT: expected a file named .keras or .weights.h5, got model.h5."),
        ({"OUT": "no/folder/model.keras"}, "OUT: expected a file in a folder that exists, got no/folder/model.keras."),
        ({"--model": "resnet"}, "--model: invalid choice: 'resnet'"),
        (
            {"--model": "unet"},
            "expected weights of segmentation-models-pytorch for --model unet, got weights of torchv",
        ),
        ({"--num-classes": "7"}, "num_classes=5, the model num_classes=7: build the model with 5"),
        ({"--backbone": "vgg11", "--output-stride": "8"}, "--output-stride: expected with a ResNet or MobileNet, got"),
        ({"--auxiliary": None}, "--auxiliary: expected with deeplabv3 and fcn, got --model lraspp; leave it out."),
        ({"--skip": "aux"}, "skip names 'aux', which neither"),
    ],
)
def test_mistakes(published, tmp_path, monkeypatch, capsys, change, text):
    monkeypatch.chdir(tmp_path)
    given = {"OUT": "model.keras", "--model": "lraspp", "--num-classes": "5", **change}
    out = given.pop("OUT")
    options = [part for pair in given.items() for part in pair if part is not None]
    assert main(["convert", str(published[0]), out, *options]) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_existing_files_stay(published, tmp_path, capsys):
    out = tmp_path / "model.keras"
    out.write_bytes(b"mine")
    assert main(["convert", str(published[0]), str(out), "--model", "lraspp", "--num-classes", "5"]) == 2
    assert "exists already; choose another name or give --overwrite" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"


def test_names_are_classes_of_kseg():
    for architecture in MODELS.values():
        assert issubclass(getattr(kseg, architecture.kind), kseg.SegmentationModel)
        assert (architecture.backbone is None) == (not architecture.forms)
    for name in PUBLISHED_MODELS:
        assert MODELS[name].backbone in PUBLISHED_BACKBONES
    for backbone in BACKBONES.values():
        assert issubclass(getattr(kseg.backbones, backbone.kind), kseg.backbones.Backbone)
