"""Prediction by models whose logits are smaller than the image: never at full size, and the same classes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import kseg
from kseg.exporting.serving_graph import ServingGraph
from kseg.inference.forward import Forward
from kseg.inference.model_spec import ModelSpec
from kseg_ops import _library
from tests.helpers.quarter_model import Quarter


def model_and_image(num_classes=3, upsampling="bilinear", size=(61, 83)):
    model = Quarter(num_classes, upsampling)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "variance" not in weight.path:
            weight.assign(rng.normal(size=weight.shape))
    image = rng.integers(0, 256, (*size, 3)).astype("uint8")
    # So that no class has the largest logit everywhere.
    head = model.get_layer("logits")
    head.bias.assign_sub(np.mean(model(image[None]), (0, 1, 2)))
    return model, image


def check_classes(classes, logits):
    """The classes are those of the largest logits, except where these tie.

    Two ways to interpolate differ by a few roundings of the four logits around a pixel: a pixel may have another class
    only where its logit is that close to the largest. There are no such pixels in these images but for chance.
    """
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], -1)
    chosen = np.take_along_axis(logits, classes[..., None].astype(int), -1)[..., 0]
    assert (logits.max(-1) - chosen <= rounding(logits)).all()
    assert np.mean(classes == logits.argmax(-1)) > 0.999
    assert len(np.unique(classes)) > 1


def rounding(logits):
    """How far logits that were interpolated in another order may lie, and the probabilities no farther."""
    return 8 * np.finfo("float32").eps * np.abs(logits).max()


@pytest.mark.parametrize("upsampling", ["bilinear", "align_corners"])
@pytest.mark.parametrize("num_classes", [1, 3])
def test_classes_are_those_of_the_logits(num_classes, upsampling):
    model, image = model_and_image(num_classes, upsampling)
    logits = kseg.predict(model, image, output="logits")
    classes = kseg.predict(model, image)
    assert classes.dtype == np.uint8
    assert classes.shape == image.shape[:2]
    check_classes(classes, logits)
    np.testing.assert_array_equal(classes, np.asarray(model.classes(image[None].astype("float32")))[0])
    tiled = kseg.predict(model, image, tile=(64, 96))
    np.testing.assert_array_equal(tiled, classes)


@pytest.mark.parametrize("options", [{"scales": (0.5,)}, {"scales": (1.0, 2.0)}, {"tta": "flips"}], ids=str)
def test_augmented(options):
    """What is averaged or rescaled goes through probabilities."""
    model, image = model_and_image(size=(24, 32))
    probabilities = kseg.predict(model, image, output="probabilities", **options)
    np.testing.assert_array_equal(kseg.predict(model, image, **options), probabilities.argmax(-1))


def test_files(tmp_path):
    model, image = model_and_image()
    Image.fromarray(image).save(tmp_path / "image.png")
    (result,) = kseg.inference.predict_files(model, tmp_path / "image.png", tmp_path / "out")
    assert result.error is None
    np.testing.assert_array_equal(np.asarray(Image.open(result.classes)), kseg.predict(model, image))


@pytest.mark.skipif(_library.core() is None, reason="needs the compiled library")
def test_no_logits_of_full_size():
    model, _ = model_and_image()
    forward = Forward(model)
    assert forward.upsamples
    types = {operation.type for operation in forward._classes.graph.get_operations()}
    assert "Kseg>ResizeArgmax" in types
    assert "ResizeBilinear" not in types
    assert not Forward(kseg.UNet(2, filters=1, depth=2)).upsamples


@pytest.mark.parametrize("upsampling", ["bilinear", "align_corners"])
@pytest.mark.parametrize("num_classes", [1, 3])
def test_exported(num_classes, upsampling, tmp_path):
    """A stock graph; probabilities and classes agree with the model."""
    model, image = model_and_image(num_classes, upsampling)
    kseg.export(model, tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served")).signatures
    logits = kseg.predict(model, image, output="logits")
    check_classes(served["classes_uint8"](tf.constant(image[None]))["classes"].numpy()[0], logits)
    probabilities = served["probabilities_uint8"](tf.constant(image[None]))["probabilities"].numpy()[0]
    expected = kseg.predict(model, image, output="probabilities")
    np.testing.assert_allclose(probabilities, expected, atol=rounding(logits))
    encoded = tf.constant([tf.io.encode_png(image).numpy()])
    check_classes(served["classes_encoded"](encoded)["classes"].numpy()[0], logits)


def test_exported_at_another_size():
    """Images are resized to the size of the graph, logits upsampled to it and then resized back."""
    model, image = model_and_image()
    graph = ServingGraph(model, ModelSpec.of(model), (32, 48)).signatures()
    shrunk = tf.image.resize(image[None], (32, 48), antialias=True)
    logits = tf.image.resize(model(shrunk), image.shape[:2])[0].numpy()
    check_classes(graph["classes_uint8"](image[None])["classes"].numpy()[0], logits)
    probabilities = graph["probabilities_uint8"](image[None])["probabilities"].numpy()[0]
    np.testing.assert_allclose(probabilities, tf.nn.softmax(logits), atol=rounding(logits))
