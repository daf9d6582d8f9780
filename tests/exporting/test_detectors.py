"""Exports of detectors, loaded and run in a process that has TensorFlow and has never heard of kseg."""

from __future__ import annotations

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg
from kseg_ops import _library
from tests.helpers.detector_cases import SIZE, rectangles, tiny_detector
from tests.helpers.stock_process import StockProcess

# Served and local graphs differ in the order of sums of about a hundred terms: of probabilities, whose slope in the
# logits is at most 1/4 and which are at most 1, and of coordinates of up to 72 pixels.
SCORE_ATOL = 128 * float(np.finfo(np.float32).eps)
BOX_ATOL = max(SIZE) * SCORE_ATOL
FITTED = (48, 54)  # of the proportions of SIZE
SMALLER = (40, 32)
NATIVE = _library.native_op("batched_nms") is not None

native_only = pytest.mark.skipif(not NATIVE, reason="the compiled ops are not in use")


def decided_detector(kind=kseg.MaskRCNN, **options):
    """A detector whose scores lie apart, so that rounding does not change the order of its detections."""
    keras.utils.set_random_seed(2)
    model = tiny_detector(kind, levels=(2, 3), anchor_sizes=(12, 20, 32), **options)
    for layer in (model.box_head.logits, model.box_head.deltas, model.rpn_head.objectness):
        layer.kernel.assign(30 * layer.kernel)
    if kind is kseg.MaskRCNN:
        model.mask_head.logits.kernel.assign(100 * model.mask_head.logits.kernel)
    return model


def pictures():
    return rectangles(3)[0][:2]


def pngs(arrays):
    return np.array([tf.io.encode_png(a).numpy() for a in arrays], "S")


def mixed():
    """Two images of different sizes."""
    return [pictures()[0], pictures()[1][: SMALLER[0], : SMALLER[1]]]


def padded(images, size):
    return np.stack(
        [np.pad(i, [[0, s - n] for s, n in zip(size, i.shape[:2], strict=True)] + [[0, 0]]) for i in images]
    )


def by_hand(model, images, sizes):
    return {name: value.numpy() for name, value in model(images, sizes=np.array(sizes, np.int32)).items()}


def fitted_by_hand(model, images, sizes):
    """Detections of images that were resized to `sizes` within FITTED."""
    small = [tf.image.resize(image, size).numpy() for image, size in zip(images, sizes, strict=True)]
    found = by_hand(model, padded(small, FITTED), sizes)
    factors = np.array([i.shape[:2] for i in images]) / sizes
    return {**found, "boxes": found["boxes"] * factors[:, None, [1, 0, 1, 0]]}


def assert_same(found, expected):
    """Equal detections in equal order."""
    assert set(found) - {"sizes"} == set(expected)
    assert (expected["classes"] >= 0).sum() >= 5
    gaps = -np.diff(expected["scores"], axis=1)[expected["classes"][:, 1:] >= 0]
    assert gaps.min() > 2 * SCORE_ATOL, "these detections have no order that rounding leaves alone"
    np.testing.assert_array_equal(found["classes"], expected["classes"])
    assert found["classes"].dtype == np.int32
    assert np.std(expected.get("masks", [0, 1])) > 0.05
    for name in set(expected) - {"classes"}:
        assert found[name].dtype == np.float32
        atol = BOX_ATOL if name == "boxes" else SCORE_ATOL
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def models():
    return {
        "masks": decided_detector(class_names=["upright", "flat"]),
        "boxes": decided_detector(kseg.FasterRCNN, input_range=(0, 1)),
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory, models):
    server = StockProcess(tmp_path_factory.mktemp("served"))
    server.done = {"masks": server.export("masks", models["masks"])}
    sizes = np.array([SIZE, SMALLER], np.int32)

    server.call("masks", "serving_default", images=pictures())
    server.call("masks", "serving_default", "one", images=np.zeros((1, 1, 1, 3), np.uint8))
    server.call("masks", "detections_encoded", image_bytes=pngs(pictures()))
    server.call("masks", "detections_encoded", "mixed", image_bytes=pngs(mixed()))
    server.call("masks", "detections_encoded", "wrong-bytes", image_bytes=np.array([b"no image"], "S"))
    server.call("masks", "detections_encoded", "wrong-count", image_bytes=np.array([], "S1"))
    server.call("masks", "detections_uint8_sizes", images=padded(mixed(), SIZE), sizes=sizes)
    server.call(
        "masks",
        "detections_uint8_sizes",
        "wrong-sizes",
        images=pictures(),
        sizes=np.array([[65, 72], SMALLER], np.int32),
    )
    server.call("masks", "detections_uint8_sizes", "wrong-none", images=pictures(), sizes=0 * sizes)
    server.call("masks", "detections_uint8_sizes", "wrong-count", images=pictures(), sizes=sizes[:1])

    server.done["fitted"] = server.export("fitted", models["masks"], size=FITTED)
    server.call("fitted", "detections_uint8", images=pictures())
    server.call("fitted", "detections_encoded", image_bytes=pngs(mixed()))
    noise = 255 - padded(255 - np.stack([mixed()[1]] * 2), SIZE)  # white beyond the image
    server.call("fitted", "detections_uint8_sizes", images=noise, sizes=np.array([SMALLER] * 2, np.int32))
    if NATIVE:
        server.done["native"] = server.export("native", models["masks"], ops="native")
    server.run()
    return server


@pytest.mark.parametrize("name", ["masks", "fitted"])
def test_every_op_is_one_of_stock_tensorflow(server, name):
    assert server.imported == []
    assert server.done[name].custom_ops == ()
    assert server.report[name]["foreign"] == {"main": [], "library": [], "gradient": [], "declared": []}
    assert server.report[name]["counted"]["library"] > 500


@pytest.mark.parametrize("signature", ["serving_default", "detections_encoded"])
def test_detections_are_those_of_the_model(server, models, signature):
    found = server.result("masks", signature)
    assert_same(found, by_hand(models["masks"], pictures(), [SIZE] * 2))
    assert_same(found, {name: value.numpy() for name, value in models["masks"](pictures()).items()})
    if signature == "detections_encoded":
        np.testing.assert_array_equal(found["sizes"], [SIZE] * 2)


def test_padding_does_not_count(server, models):
    expected = by_hand(models["masks"], padded(mixed(), SIZE), [SIZE, SMALLER])
    assert (expected["boxes"][1] <= [SMALLER[1], SMALLER[0]] * 2).all()
    assert_same(server.result("masks", "detections_uint8_sizes"), expected)
    found = server.result("masks", "detections_encoded", "mixed")
    assert_same(found, expected)
    np.testing.assert_array_equal(found["sizes"], [SIZE, SMALLER])


def test_one_pixel(server):
    assert server.result("masks", "serving_default", "one")["boxes"].shape == (1, 10, 4)


def test_images_are_fitted_and_boxes_come_back(server, models):
    expected = fitted_by_hand(models["masks"], pictures(), [FITTED] * 2)
    assert expected["boxes"].max() > max(FITTED)
    found = server.result("fitted", "detections_uint8")
    assert_same(found, expected)
    for index, image in enumerate(pictures()):
        alone = kseg.predict_instances(models["masks"], image, score_threshold=0, shorter_side=min(FITTED))
        assert len(alone) == (found["classes"][index] >= 0).sum()
        np.testing.assert_array_equal(alone.classes, found["classes"][index, : len(alone)])
        np.testing.assert_allclose(alone.boxes, found["boxes"][index, : len(alone)], rtol=0, atol=BOX_ATOL)
        np.testing.assert_allclose(alone.crops, found["masks"][index, : len(alone)], rtol=0, atol=SCORE_ATOL)


def test_files_of_any_sizes_are_fitted(server, models):
    found = server.result("fitted", "detections_encoded")
    assert_same(found, fitted_by_hand(models["masks"], mixed(), [FITTED, (48, 38)]))
    np.testing.assert_array_equal(found["sizes"], [SIZE, SMALLER])


def test_images_are_fitted_without_their_padding(server, models):
    expected = fitted_by_hand(models["masks"], [mixed()[1]] * 2, [(48, 38)] * 2)
    assert_same(server.result("fitted", "detections_uint8_sizes"), expected)


def test_sizes_that_do_not_fit(server):
    text = "sizes must hold heights and widths from 1 to those of images; got these, for images of this size:] "
    error = server.error("masks", "detections_uint8_sizes", "wrong-sizes")
    assert error.startswith("InvalidArgumentError")
    assert text + "[[65 72][40 32]] [64 72]" in error
    assert text + "[[0 0][0 0]] [64 72]" in server.error("masks", "detections_uint8_sizes", "wrong-none")
    error = server.error("masks", "detections_uint8_sizes", "wrong-count")
    assert "sizes must hold one pair for each image; numbers of pairs and of images:] [1] [2]" in error


def test_files_that_are_no_images(server):
    assert server.error("masks", "detections_encoded", "wrong-bytes").startswith("InvalidArgumentError")
    assert "must hold at least one image" in server.error("masks", "detections_encoded", "wrong-count")


def test_signatures(server):
    outputs = (
        "boxes: float32 [?, 10, 4]; classes: int32 [?, 10]; masks: float32 [?, 10, 28, 28]; scores: float32 [?, 10]"
    )
    signatures = server.done["masks"].signatures
    forms = {"uint8", "uint8_sizes", "encoded", "float", "float_sizes"}
    assert set(signatures) == {"serving_default", *(f"detections_{form}" for form in forms)}
    assert signatures["serving_default"] == signatures["detections_uint8"]
    assert signatures["detections_uint8"] == {"input": "images: uint8 [?, ?, ?, 3]", "output": outputs}
    assert signatures["detections_float_sizes"] == {
        "input": "images: float32 [?, ?, ?, 3]; sizes: int32 [?, 2]",
        "output": outputs,
    }
    assert signatures["detections_encoded"]["output"] == f"{outputs}; sizes: int32 [?, 2]"


def test_facts(server):
    facts = json.loads((server.done["fitted"].path / "assets.extra" / "kseg_export.json").read_text())
    expected = {
        "num_classes": 2,
        "class_names": ["upright", "flat"],
        "input_range": [0, 255],
        "channels": 3,
        "size": list(FITTED),
        "padding_class": -1,
        "max_detections": 10,
        "score_threshold": 0.0,
        "iou_threshold": 0.5,
        "paste_mode": "torchvision",
    }
    assert {name: facts[name] for name in expected} == expected
    assert facts["boxes"].startswith("x1, y1, x2, y2 in pixels of the image")
    assert "ignore_index" not in facts


@native_only
def test_native_ops_are_kept_and_a_stock_process_refuses_them(server, models):
    done = server.done["native"]
    assert done.custom_ops == ("Kseg>BatchedNms", "Kseg>MultilevelRoiAlign")
    assert "Kseg>" in server.report["native"]["load_error"]
    assert "tf.load_op_library('" in done.server_needs
    served = tf.saved_model.load(done.path).signatures["detections_uint8"]  # here, the library is loaded
    found = {name: value.numpy() for name, value in served(images=tf.constant(pictures())).items()}
    assert_same(found, by_hand(models["masks"], pictures(), [SIZE] * 2))


def test_boxes_alone_and_the_models_own_export(models, tmp_path):
    done = models["boxes"].export(tmp_path / "m")
    assert done.custom_ops == ()
    assert set(done.signatures) == {"serving_default", "detections_float", "detections_float_sizes"}
    assert "masks" not in done.signatures["detections_float"]["output"]
    assert json.loads((done.path / "assets.extra" / "kseg_export.json").read_text())["paste_mode"] is None
    scaled = pictures().astype(np.float32) / 255
    served = tf.saved_model.load(done.path).signatures["serving_default"](images=tf.constant(scaled))
    found = {name: value.numpy() for name, value in served.items()}
    assert_same(found, by_hand(models["boxes"], scaled, [SIZE] * 2))


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ops": "fast"}, 'ops must be "reference" or "native"; got \'fast\''),
        ({"size": (0, 3)}, "size must be a positive integer or a pair"),
    ],
)
def test_options_that_cannot_be(models, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        kseg.export(models["boxes"], tmp_path / "m", **options)


def test_native_ops_that_are_not_to_be_had(models, tmp_path, monkeypatch):
    monkeypatch.setenv("KSEG_NATIVE", "0")
    with pytest.raises(RuntimeError, match=r"needs kseg's compiled ops, but they are not in use: .*KSEG_NATIVE=0"):
        kseg.export(models["boxes"], tmp_path / "m", ops="native")
    assert os.listdir(tmp_path) == []
