from __future__ import annotations

import json
import logging
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg
from kseg.exporting import Export
from tests.helpers import toy_models


@pytest.fixture(scope="module")
def model():
    return kseg.UNet(3, filters=4, depth=2, class_names=["sky", "ground", "tree"], name="tiny")


def test_what_is_written_and_returned(model, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="kseg"):
        done = kseg.export(model, tmp_path / "served" / "1")
    assert isinstance(done, Export)
    assert done.path == tmp_path / "served" / "1"
    assert done.custom_ops == ()
    assert "any TensorFlow Serving" in done.server_needs
    assert done.server_needs in caplog.text
    assert os.listdir(tmp_path / "served") == ["1"], "nothing half-written is left beside it"
    facts = json.loads((done.path / "assets.extra" / "kseg_export.json").read_text())
    assert facts["class_names"] == ["sky", "ground", "tree"]
    assert facts["input_range"] == [0, 255]
    assert facts["num_classes"] == 3
    assert facts["ops"] == "reference"
    assert facts["tensorflow_version"] == tf.__version__
    assert facts["model"] == "tiny"
    assert facts["signatures"] == done.signatures
    assert done.signatures["serving_default"] == done.signatures["classes_uint8"]
    assert done.signatures["classes_uint8"] == {
        "input": "images: uint8 [?, ?, ?, 3]",
        "output": "classes: uint8 [?, ?, ?]",
    }
    assert done.signatures["probabilities_encoded"] == {
        "input": "image_bytes: string [?]",
        "output": "probabilities: float32 [?, ?, ?, 3]",
    }


def test_the_models_own_export_is_the_same(model, tmp_path):
    done = model.export(tmp_path / "m")
    assert set(done.signatures) == {
        "serving_default",
        *(f"{what}_{form}" for what in ("classes", "probabilities") for form in ("uint8", "encoded", "float")),
    }
    assert tf.saved_model.contains_saved_model(str(tmp_path / "m"))


@pytest.mark.parametrize(
    ("options", "forms"),
    [
        ({"input_range": (0, 255)}, {"uint8", "encoded", "float"}),
        ({"input_range": (0, 65535)}, {"uint16", "float"}),
        ({"input_range": (0, 4095)}, {"uint16", "float"}),
        ({"input_range": (0, 1)}, {"float"}),
        ({"input_range": None}, {"float"}),
        ({"input_shape": (None, None, 2)}, {"uint8", "float"}),
        ({"input_shape": (None, None, 4)}, {"uint8", "encoded", "float"}),
    ],
    ids=str,
)
def test_input_forms_follow_the_sensors_range_and_channels(options, forms, tmp_path):
    model = kseg.UNet(2, filters=2, depth=1, **options)
    signatures = set(kseg.export(model, tmp_path / "m").signatures) - {"serving_default"}
    assert signatures == {f"{what}_{form}" for what in ("classes", "probabilities") for form in forms}


def test_sixteen_bit_pixels(tmp_path):
    model = kseg.UNet(2, (None, None, 1), filters=2, depth=2, input_range=(0, 65535))
    kseg.export(model, tmp_path / "m")
    image = np.random.default_rng(0).integers(0, 65536, (1, 9, 10, 1)).astype(np.uint16)
    served = tf.saved_model.load(tmp_path / "m").signatures["probabilities_uint16"](images=tf.constant(image))
    expected = kseg.predict(model, image, output="probabilities")
    np.testing.assert_allclose(served["probabilities"], expected, atol=1e-5)


def test_optimizer_state_is_not_exported(model, tmp_path):
    trained = kseg.UNet(2, filters=2, depth=1)
    trained.train_on_batch(np.zeros((1, 8, 8, 3), "uint8"), np.zeros((1, 8, 8), "int32"))
    assert len(trained.optimizer.variables) > len(trained.trainable_variables)
    kseg.export(trained, tmp_path / "m")
    reader = tf.train.load_checkpoint(str(tmp_path / "m" / "variables" / "variables"))
    stored = {name: shape for name, shape in reader.get_variable_to_shape_map().items() if "weights" in name}
    assert sorted(map(tuple, stored.values())) == sorted(
        tuple(w.shape) for w in trained.weights if "seed" not in w.name
    )


def test_backward_functions_are_not_exported(tmp_path):
    """A custom op that only a gradient uses must not reach the server: TensorFlow would save it with the function."""

    @keras.saving.register_keras_serializable(package="test")
    class OddGradient(keras.layers.Layer):
        def call(self, x):
            @tf.custom_gradient
            def identity(x):
                return tf.identity(x), lambda upstream: tf.math.bessel_i0e(upstream)

            return identity(x)

    x = keras.Input((None, None, 3))
    model = keras.Model(x, keras.layers.Conv2D(2, 1)(OddGradient()(x)))
    kseg.export(model, tmp_path / "m")
    assert b"BesselI0e" not in (tmp_path / "m" / "saved_model.pb").read_bytes()


def test_a_foreign_model_gets_float_signatures(tmp_path):
    model = toy_models.encoder_decoder(input_size=(16, 24))
    done = kseg.export(model, tmp_path / "m")
    assert set(done.signatures) == {"serving_default", "classes_float", "probabilities_float"}
    assert done.signatures["serving_default"]["input"] == "images: float32 [?, 16, 24, 3]"
    model.input_range = (0, 255)
    assert "classes_encoded" in kseg.export(model, tmp_path / "n").signatures


# Refusals


def test_a_path_that_cannot_be_written_to(model, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise tf.errors.NotFoundError(None, None, "/there/variables; No such file or directory")

    monkeypatch.setattr(tf.saved_model, "save", refuse)
    with pytest.raises(OSError, match=r"cannot write to .*there: No such file or directory\. Choose a folder"):
        kseg.export(model, tmp_path / "there")
    assert os.listdir(tmp_path) == []


def test_a_path_in_use_is_left_alone(model, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "precious").write_text("x")
    with pytest.raises(FileExistsError, match=r"is there and not empty\. Choose another path, or pass overwrite=True"):
        kseg.export(model, tmp_path / "m")
    assert os.listdir(tmp_path / "m") == ["precious"]
    with pytest.raises(FileExistsError, match="precious is a file; path must name a folder"):
        kseg.export(model, tmp_path / "m" / "precious")
    kseg.export(model, tmp_path / "m", overwrite=True)
    assert tf.saved_model.contains_saved_model(str(tmp_path / "m"))
    assert not (tmp_path / "m" / "precious").exists()
    assert os.listdir(tmp_path) == ["m"]


def test_an_empty_folder_may_be_there(model, tmp_path):
    (tmp_path / "m").mkdir()
    kseg.export(model, tmp_path / "m")


def test_a_failed_export_leaves_nothing(model, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(json, "dumps", fail)
    with pytest.raises(OSError, match="disk full"):
        kseg.export(model, tmp_path / "m")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ops": "fast"}, 'ops must be "reference" or "native"; got \'fast\''),
        ({"size": 0}, "size must be a positive integer or a pair"),
        ({"size": (1, 2, 3)}, "size must be a positive integer or a pair"),
        ({"size": 2.5}, r"size must be .*; got 2\.5"),
    ],
)
def test_options_that_cannot_be(model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        kseg.export(model, tmp_path / "m", **options)


def test_size_of_a_fixed_model(tmp_path):
    with pytest.raises(ValueError, match=r"size must be \(16, 24\), the only one that this model takes; got 16"):
        kseg.export(toy_models.encoder_decoder(input_size=(16, 24)), tmp_path / "m", size=16)


def test_models_that_are_none(tmp_path):
    with pytest.raises(TypeError, match="model must be a Keras model; got function"):
        kseg.export(lambda x: x, tmp_path / "m")
    with pytest.raises(ValueError, match="is not built"):
        kseg.export(keras.Sequential([keras.layers.Conv2D(2, 1)]), tmp_path / "m")
    x = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="must return logits"):
        kseg.export(keras.Model(x, keras.layers.GlobalAveragePooling2D()(x)), tmp_path / "m")


def test_native_ops_that_are_not_to_be_had(model, tmp_path, monkeypatch):
    monkeypatch.setenv("KSEG_NATIVE", "0")
    with pytest.raises(
        RuntimeError, match=r"needs kseg's compiled ops, but they are not in use: .*KSEG_NATIVE=0.*kseg build-ops"
    ):
        kseg.export(model, tmp_path / "m", ops="native")
    assert os.listdir(tmp_path) == []
