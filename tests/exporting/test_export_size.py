"""Exports that resize images to a working size and results back."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg
from kseg_ops import _library
from tests.helpers import toy_models
from tests.helpers.stock_process import StockProcess

SIZE = (24, 32)
# Float32 rounding through two resizings and a small network.
ATOL = 1e-4


def images(*shape, seed=0):
    coarse = np.random.default_rng(seed).uniform(0, 255, (shape[0], 7, 7, shape[-1])).astype(np.float32)
    return tf.cast(tf.image.resize(coarse, shape[1:3]), tf.uint8).numpy()


def pngs(arrays):
    return np.array([tf.io.encode_png(a).numpy() for a in arrays], "S")


def by_hand(model, batch):
    """Probabilities at the images' own size, through the model at SIZE."""
    small = tf.image.resize(tf.cast(batch, tf.float32), SIZE, antialias=True)
    logits = tf.image.resize(kseg.predict(model, small.numpy(), output="logits"), batch.shape[1:3]).numpy()
    if logits.shape[-1] == 1:
        return tf.sigmoid(logits).numpy()
    return tf.nn.softmax(logits).numpy()


def assert_classes(classes, probabilities):
    if probabilities.shape[-1] == 1:
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=-1)
    best = np.sort(probabilities, axis=-1)
    decided = best[..., -1] - best[..., -2] > 2 * ATOL
    assert decided.mean() > 0.9
    np.testing.assert_array_equal(classes[decided], probabilities.argmax(-1)[decided])


@pytest.fixture(scope="module")
def models():
    small = {"filters": 4, "depth": 2}
    return {
        "rgb": toy_models.randomise(kseg.UNet(4, **small), images(1, *SIZE, 3)),
        "grey": toy_models.randomise(kseg.UNet(1, (None, None, 1), **small), images(1, *SIZE, 1)),
    }


@pytest.fixture(scope="module")
def process(tmp_path_factory, models):
    process = StockProcess(tmp_path_factory.mktemp("served"))
    for name, model in models.items():
        process.export(name, model, size=SIZE)
        batch = images(2, 45, 51, model.input_shape[-1])
        for what in ("classes", "probabilities"):
            process.call(name, f"{what}_uint8", images=batch)
            process.call(name, f"{what}_encoded", image_bytes=pngs(batch))
            mixed = np.concatenate([pngs(images(1, *s, model.input_shape[-1])) for s in ((45, 20), (10, 51))])
            process.call(name, f"{what}_encoded", "mixed", image_bytes=mixed)
    if _library.native_op("resize_argmax") is not None:
        done = process.export("native", models["rgb"], size=SIZE, ops="native")
        process.native = done
    process.run()
    return process


@pytest.mark.parametrize("name", ["rgb", "grey"])
@pytest.mark.parametrize("form", ["uint8", "encoded"])
def test_results_have_the_images_own_size(process, models, name, form):
    batch = images(2, 45, 51, models[name].input_shape[-1])
    expected = by_hand(models[name], batch)
    answer = process.result(name, f"probabilities_{form}")
    np.testing.assert_allclose(answer["probabilities"], expected, atol=ATOL)
    classes = process.result(name, f"classes_{form}")["classes"]
    assert classes.dtype == np.uint8
    assert_classes(classes, expected)
    if form == "encoded":
        np.testing.assert_array_equal(answer["sizes"], [[45, 51], [45, 51]])


@pytest.mark.parametrize("name", ["rgb", "grey"])
def test_sizes_may_differ_within_a_batch(process, models, name):
    classes = process.result(name, "classes_encoded", "mixed")
    probabilities = process.result(name, "probabilities_encoded", "mixed")
    np.testing.assert_array_equal(classes["sizes"], [[45, 20], [10, 51]])
    np.testing.assert_array_equal(probabilities["sizes"], [[45, 20], [10, 51]])
    assert classes["classes"].shape == (2, 45, 51)
    for index, (height, width) in enumerate(classes["sizes"]):
        expected = by_hand(models[name], images(1, height, width, models[name].input_shape[-1]))[0]
        np.testing.assert_allclose(probabilities["probabilities"][index, :height, :width], expected, atol=ATOL)
        assert_classes(classes["classes"][index, :height, :width], expected)
        outside = np.ones((45, 51), bool)
        outside[:height, :width] = False
        assert (classes["classes"][index][outside] == 255).all()
        assert (probabilities["probabilities"][index][outside] == 0).all()


@pytest.mark.parametrize("name", ["rgb", "grey"])
def test_every_op_is_one_of_stock_tensorflow(process, name):
    assert process.imported == []
    assert process.report[name]["foreign"] == {"main": [], "library": [], "gradient": [], "declared": []}


@pytest.mark.skipif(_library.native_op("resize_argmax") is None, reason="the compiled ops are not in use")
def test_native_ops_are_kept_and_a_stock_process_refuses_them(process, models, tmp_path, caplog):
    assert process.native.custom_ops == ("Kseg>ResizeArgmax",)
    assert "tf.load_op_library('" in process.native.server_needs
    assert process.report["native"]["foreign"]["library"] == ["Kseg>ResizeArgmax"]
    assert "Kseg>ResizeArgmax" in process.report["native"]["load_error"]
    # In this process the library is loaded.
    served = tf.saved_model.load(process.native.path).signatures["classes_uint8"]
    batch = images(2, 45, 51, 3)
    assert_classes(served(images=tf.constant(batch))["classes"].numpy(), by_hand(models["rgb"], batch))


@pytest.mark.skipif(_library.native_op("resize_argmax") is None, reason="the compiled ops are not in use")
def test_what_a_native_export_needs_is_logged(models, tmp_path, caplog):
    done = kseg.export(models["rgb"], tmp_path / "m", size=SIZE, ops="native")
    assert done.server_needs in caplog.text
    assert [record.levelname for record in caplog.records if record.name.startswith("kseg")] == ["WARNING"]
