"""Exports, loaded and run in a process that has TensorFlow and has never heard of kseg."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import kseg
from tests.helpers import toy_models
from tests.helpers.stock_process import StockProcess

# Served and local graphs differ in what the graph optimiser fuses: float32 rounding of a few hundred terms.
ATOL = 1e-4


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pngs(arrays):
    return np.array([tf.io.encode_png(a).numpy() for a in arrays], "S")


def models():
    small = {"filters": 4, "depth": 3}
    return {
        "unet": kseg.UNet(3, **small),
        "bilinear_group": kseg.UNet(3, **small, upsampling="bilinear", norm="group", dropout=0.3),
        "valid": kseg.UNet(2, (None, None, 1), **small, norm=None, padding="valid"),
        "sigmoid": kseg.UNet(1, (None, None, 1), filters=4, depth=2),
        "bfloat16": kseg.UNet(3, **small, dtype="mixed_bfloat16"),
        "fixed": toy_models.encoder_decoder(input_size=(16, 24)),
    }


def picture_of(model, batch=2):
    height, width = (29, 34) if model.input_shape[1] is None else model.input_shape[1:3]
    return images(batch, height, width, model.input_shape[-1])


def plant(folder):
    """Puts an op that nobody registers into the main graph, a library function and a gradient function of an export."""
    file = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(file.read_bytes())
    graph = saved.meta_graphs[0].graph_def
    graph.node.add(name="a", op="Kseg>Main")
    forward, backward = graph.library.function[0], graph.library.function[1]
    forward.node_def.add(name="b", op="Kseg>Library")
    backward.node_def.add(name="c", op="Kseg>Gradient")
    graph.library.gradient.add(function_name=forward.signature.name, gradient_func=backward.signature.name)
    file.write_bytes(saved.SerializeToString())


@pytest.fixture(scope="module")
def built():
    # Large enough for the margin of the one with valid padding.
    return {
        name: toy_models.randomise(model, images(1, 64, 64, model.input_shape[-1])) if name != "fixed" else model
        for name, model in models().items()
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory, built):
    server = StockProcess(tmp_path_factory.mktemp("served"))
    for name, model in built.items():
        done = server.export(name, model)
        pictures = picture_of(model)
        for what in ("classes", "probabilities"):
            server.call(name, f"{what}_float", images=pictures.astype(np.float32))
            if f"{what}_uint8" in done.signatures:
                server.call(name, f"{what}_uint8", images=pictures)
                server.call(name, f"{what}_encoded", image_bytes=pngs(pictures))
        server.call(
            name,
            "serving_default",
            images=pictures.astype(np.uint8 if "classes_uint8" in done.signatures else np.float32),
        )

    server.call("unet", "classes_uint8", "one", images=images(1, 1, 1, 3))
    jpeg = [tf.io.encode_jpeg(a, quality=95).numpy() for a in images(2, 24, 31, 3)]
    server.call("unet", "classes_encoded", "jpeg", image_bytes=np.array(jpeg, "S"))
    server.call("unet", "classes_encoded", "mixed", image_bytes=np.array([jpeg[0], pngs(images(1, 24, 31, 3))[0]], "S"))
    grey = pngs(images(1, 24, 31, 1))
    server.call("unet", "classes_encoded", "grey", image_bytes=grey)
    server.call("unet", "classes_encoded", "wrong-sizes", image_bytes=np.concatenate([pngs(images(1, 8, 9, 3)), grey]))
    server.call("unet", "classes_encoded", "wrong-bytes", image_bytes=np.array([b"no image"], "S"))
    server.call("unet", "classes_encoded", "wrong-count", image_bytes=np.array([], "S1"))
    plant(server.export("planted", built["sigmoid"]).path)
    server.run()
    return server


NAMES = ["unet", "bilinear_group", "valid", "sigmoid", "bfloat16", "fixed"]


def test_the_process_knows_nothing_of_kseg(server):
    assert server.imported == []


@pytest.mark.parametrize("name", NAMES)
def test_every_op_is_one_of_stock_tensorflow(server, name):
    report = server.report[name]
    assert report["foreign"] == {"main": [], "library": [], "gradient": [], "declared": []}
    # The walk did see the graphs: the main one restores variables, the library holds the model.
    assert report["counted"]["main"] > 10
    assert report["counted"]["library"] > 50


def test_the_walk_sees_a_foreign_op_wherever_it_stands(server):
    planted = server.report["planted"]
    assert planted["foreign"] == {
        "main": ["Kseg>Main"],
        "library": ["Kseg>Library"],
        "gradient": ["Kseg>Gradient"],
        "declared": [],
    }
    assert "Kseg>" in planted["load_error"]


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_those_of_predict(server, built, name):
    model = built[name]
    expected = kseg.predict(model, picture_of(model), output="probabilities")
    for signature in server.report[name]["signatures"]:
        if signature.startswith("probabilities"):
            probabilities = server.result(name, signature)["probabilities"]
            assert probabilities.dtype == np.float32
            # In bfloat16 a fusion more or less changes roundings of 2**-9 relative, a few of them in a row.
            np.testing.assert_allclose(
                probabilities, expected, atol=0.05 if name == "bfloat16" else ATOL, err_msg=signature
            )


@pytest.mark.parametrize("name", NAMES)
def test_class_maps_are_those_of_predict(server, built, name):
    model = built[name]
    expected = kseg.predict(model, picture_of(model))
    probabilities = kseg.predict(model, picture_of(model), output="probabilities")
    if probabilities.shape[-1] == 1:
        decided = np.abs(probabilities[..., 0] - 0.5) > ATOL
    else:
        best = np.sort(probabilities, axis=-1)
        decided = best[..., -1] - best[..., -2] > (0.1 if name == "bfloat16" else 2 * ATOL)
    assert decided.mean() > 0.5
    assert len(np.unique(expected)) > 1
    for signature in ("serving_default", *server.report[name]["signatures"]):
        if not signature.startswith("probabilities"):
            classes = server.result(name, signature)["classes"]
            assert classes.dtype == np.uint8
            assert classes.shape == expected.shape
            np.testing.assert_array_equal(classes[decided], expected[decided], err_msg=signature)


def test_one_pixel(server):
    assert server.result("unet", "classes_uint8", "one")["classes"].shape == (1, 1, 1)


def agree(classes, model, image):
    probabilities = np.sort(kseg.predict(model, image, output="probabilities"), axis=-1)
    decided = probabilities[..., -1] - probabilities[..., -2] > 2 * ATOL
    assert decided.mean() > 0.5
    np.testing.assert_array_equal(classes[decided], kseg.predict(model, image)[decided])


def test_jpeg(server, built):
    decoded = [tf.io.decode_image(tf.io.encode_jpeg(a, quality=95)).numpy() for a in images(2, 24, 31, 3)]
    agree(server.result("unet", "classes_encoded", "jpeg")["classes"], built["unet"], np.stack(decoded))


def test_formats_may_be_mixed_in_a_batch(server, built):
    jpeg = tf.io.decode_image(tf.io.encode_jpeg(images(2, 24, 31, 3)[0], quality=95)).numpy()
    both = np.stack([jpeg, images(1, 24, 31, 3)[0]])
    agree(server.result("unet", "classes_encoded", "mixed")["classes"], built["unet"], both)


def test_grey_files_become_colour(server, built):
    grey = np.repeat(images(1, 24, 31, 1), 3, axis=-1)
    agree(server.result("unet", "classes_encoded", "grey")["classes"], built["unet"], grey)


def test_sizes_that_differ(server):
    error = server.error("unet", "classes_encoded", "wrong-sizes")
    assert error.startswith("InvalidArgumentError")
    assert "must have equal sizes (send them one by one, or export the model with size=(height, width))" in error
    assert "[1] [24 31] [8 9]" in error


def test_bytes_that_are_no_image(server):
    assert server.error("unet", "classes_encoded", "wrong-bytes").startswith("InvalidArgumentError")


def test_an_empty_batch(server):
    error = server.error("unet", "classes_encoded", "wrong-count")
    assert error.startswith("InvalidArgumentError")
    assert "must hold at least one image" in error
