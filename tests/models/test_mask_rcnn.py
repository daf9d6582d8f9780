"""Faster R-CNN and Mask R-CNN: what they give, what they are made of, and saving."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg
import kseg_ops
from tests.helpers.detector_cases import CLASSES, SIZE, rectangles, tiny_detector
from tests.helpers.layer_checks import without_ids
from tests.helpers.tiny_backbone import TinyBackbone

KINDS = [kseg.FasterRCNN, kseg.MaskRCNN]


def count(weights):
    return sum(weight.shape.num_elements() for weight in weights)


@pytest.mark.parametrize(
    ("kind", "form", "frozen", "parameters"),
    [
        # All but 44,454,513 are the published ones.
        (kseg.FasterRCNN, "v1", True, 41_755_286),
        (kseg.FasterRCNN, "v2", False, 43_712_278),
        (kseg.MaskRCNN, "v1", True, 44_401_393),
        (kseg.MaskRCNN, "v1", False, 44_454_513),
        (kseg.MaskRCNN, "v2", False, 46_359_409),
    ],
)
def test_parameters(kind, form, frozen, parameters):
    model = kind(90, form=form, frozen_batch_norm=frozen)
    assert count(model.trainable_weights) == parameters
    model.trainable = False
    model.trainable = True
    assert count(model.trainable_weights) == parameters


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["v1", "v2"])
def test_what_comes_out(kind, form):
    model = tiny_detector(kind, form=form)
    found = model(rectangles(2)[0])
    shapes = {"boxes": (2, 10, 4), "scores": (2, 10), "classes": (2, 10)}
    if kind is kseg.MaskRCNN:
        shapes["masks"] = (2, 10, 28, 28)
    assert {name: tuple(value.shape) for name, value in found.items()} == shapes
    assert {name: value.dtype for name, value in found.items()} == {
        name: tf.int32 if name == "classes" else tf.float32 for name in shapes
    }
    boxes, scores, classes = (found[name].numpy() for name in ("boxes", "scores", "classes"))
    there = classes >= 0
    assert there.any()
    assert (np.diff(scores, axis=1) <= 0).all()
    assert (boxes[..., 2:] > boxes[..., :2])[there].all()
    assert boxes.min() >= 0
    assert (boxes.max((0, 1)) <= [SIZE[1], SIZE[0]] * 2).all()
    assert classes.max() < CLASSES
    for name, value in found.items():
        assert not np.any(value.numpy()[~there]) or name == "classes"


def test_masks_can_be_pasted():
    found = tiny_detector()(rectangles(1)[0])
    masks = kseg_ops.paste_masks(found["masks"][0], found["boxes"][0], SIZE)
    assert masks.shape == (10, *SIZE)


def test_predict():
    model = tiny_detector()
    model.compile(run_eagerly=True)
    images, targets = rectangles(3)
    expected = model(images)
    found = model.predict(images, batch_size=3, verbose=0)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4)
    dataset = tf.data.Dataset.from_tensor_slices((images, targets)).batch(3)
    for name, value in model.predict(dataset, verbose=0).items():
        np.testing.assert_array_equal(value, found[name])


def test_what_the_padding_of_a_batch_holds_does_not_matter():
    model = tiny_detector()
    model.compile(run_eagerly=True)
    images = rectangles(2, size=(48, 64))[0]
    sizes = np.array([[48, 64], [40, 50]])
    rows, columns = np.mgrid[:68, :84]
    inside = ((rows < sizes[:, 0, None, None]) & (columns < sizes[:, 1, None, None]))[..., None]
    dark, bright = (
        np.where(inside, np.pad(images, [[0, 0], [0, 20], [0, 20], [0, 0]]), value).astype("uint8")
        for value in (0, 200)
    )
    expected = model(dark, sizes=sizes)
    for name, value in model(bright, sizes=sizes).items():
        np.testing.assert_array_equal(value, expected[name])
    assert (expected["boxes"].numpy().max(1) <= sizes[:, [1, 0, 1, 0]]).all()
    assert np.abs(model(bright)["scores"] - model(dark)["scores"]).max() > 1e-4  # without sizes it does
    on_batch = model.predict_on_batch(bright, sizes=sizes)
    np.testing.assert_allclose(on_batch["boxes"], expected["boxes"], atol=1e-3)
    dataset = tf.data.Dataset.from_tensors((bright, {"sizes": sizes}))
    np.testing.assert_allclose(model.predict(dataset, verbose=0)["boxes"], expected["boxes"], atol=1e-3)


def test_sizes_known_at_run_time_only():
    model = tiny_detector()
    traced = tf.function(model, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    for size in ((33, 50), SIZE):
        images = rectangles(1, size=size)[0]
        expected, found = model(images), traced(images)
        np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-4)


def test_stock_ops_find_the_same():
    model = tiny_detector()
    images = rectangles(2)[0]
    expected = model(images)
    with kseg_ops.use_reference():
        found = model(images)
    np.testing.assert_array_equal(found["classes"], expected["classes"])
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=1e-3)
    np.testing.assert_allclose(found["masks"], expected["masks"], atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    model = tiny_detector(dtype=policy)
    assert model.dtype_policy.name == policy
    assert keras.config.dtype_policy().name == "float32"
    assert model.pyramid.compute_dtype == policy.removeprefix("mixed_")
    found = model(rectangles(2)[0])
    assert found["boxes"].dtype == tf.float32
    assert np.isfinite(found["boxes"]).all()
    assert np.isfinite(found["masks"]).all()


@pytest.mark.parametrize(
    "options", [{}, {"form": "v2", "frozen_batch_norm": True, "class_names": ("a", "b"), "seed": 3}]
)
def test_saving(options, tmp_path):
    model = tiny_detector(**options)
    config = json.loads(json.dumps(model.get_config()))
    again = kseg.MaskRCNN.from_config(config)
    assert without_ids(json.loads(json.dumps(again.get_config()))) == without_ids(config)
    assert not again.compiled
    images = rectangles(2)[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.compiled
    assert loaded.frozen_batch_norm == model.frozen_batch_norm
    for name, value in model(images).items():
        np.testing.assert_array_equal(loaded(images)[name], value)


def test_any_pyramid():
    model = tiny_detector(levels=(2, 3), anchor_sizes=None)
    assert model.levels == ["P2", "P3"]
    assert model.anchor_generator.sizes == (32, 64, 128)
    assert model(rectangles(1)[0])["boxes"].shape == (1, 10, 4)
    grey = tiny_detector(backbone=TinyBackbone((None, None, 1), levels=(2, 3, 4)))
    assert grey(rectangles(1)[0][..., :1])["boxes"].shape == (1, 10, 4)


def test_input_range():
    images = rectangles(1)[0]
    raw, scaled = tiny_detector(), tiny_detector(input_range=(0, 1))
    scaled.set_weights(raw.get_weights())
    np.testing.assert_allclose(scaled(images / np.float32(255))["scores"], raw(images)["scores"], atol=1e-4)


def test_refusals():
    with pytest.raises(ValueError, match="form must be one of 'v1', 'v2'; got 'v3'"):
        tiny_detector(form="v3")
    with pytest.raises(ValueError, match="class_names must hold 2 names, one per class; got 1"):
        tiny_detector(class_names=["a"])
    with pytest.raises(TypeError, match="unexpected keyword argument 'max_detection'"):
        tiny_detector(max_detection=3)
    with pytest.raises(TypeError, match=r"backbone must be a kseg\.backbones\.Backbone; got int"):
        tiny_detector(backbone=50)
    with pytest.raises(ValueError, match=r"backbone must have some of the levels P2 to P5; it has P1"):
        tiny_detector(levels=(1,))
    with pytest.raises(ValueError, match="every level between its first and its last; it has P2, P4"):
        tiny_detector(levels=(2, 4))
    with pytest.raises(ValueError, match="backbone must have stride 16 on P4, which regions are cut out of; it has 8"):
        tiny_detector(backbone=TinyBackbone(levels=(2, 3, 4), output_stride=8))
    with pytest.raises(ValueError, match="anchor_sizes must have an entry for each of P2, P3, P4 and for the level af"):
        tiny_detector(anchor_sizes=(8, 16))(rectangles(1)[0])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"pyramid_filters": 0}, ValueError, "pyramid_filters must be a positive int; got 0"),
        ({"head_units": 1.5}, ValueError, "head_units must be a positive int; got 1.5"),
        ({"num_proposals": 0}, ValueError, "num_proposals must be a positive int; got 0"),
        ({"training_proposals": "9"}, ValueError, "training_proposals must be a positive int; got '9'"),
        ({"rpn_samples": -1}, ValueError, "rpn_samples must be a positive int; got -1"),
        ({"box_samples": 2.5}, ValueError, "box_samples must be a positive int; got 2.5"),
        ({"score_threshold": float("nan")}, ValueError, r"score_threshold must be a number in 0\.\.1; got nan"),
        ({"aligned": "yes"}, ValueError, "aligned must be True or False; got 'yes'"),
        ({"frozen_batch_norm": 1}, ValueError, "frozen_batch_norm must be True or False; got 1"),
        ({"aspect_ratios": (0, 1)}, ValueError, r"aspect_ratios must be positive numbers; got \(0, 1\)"),
        ({"anchor_sizes": ()}, ValueError, r"anchor_sizes must be positive numbers; got \(\)"),
        ({"anchor_sizes": ((8, -1),) * 4}, ValueError, "anchor_sizes must be positive numbers"),
        ({"input_range": 5}, ValueError, r"input_range must be two increasing numbers .* or None; got 5"),
        ({"input_shape": (3,)}, ValueError, r"input_shape must be \(height, width, channels\).*; got \(3,\)"),
        ({"class_names": "ab"}, TypeError, "class_names must be a list of texts.*; got 'ab'"),
    ],
)
def test_errors_name_the_argument_that_was_given(arguments, error, text):
    with pytest.raises(error, match=text):
        tiny_detector(**arguments)
