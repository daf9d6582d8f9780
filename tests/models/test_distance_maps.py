"""Labels with distance maps beside them in `fit`: they train as without, metrics see the labels, bad ones are named."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg
from kseg.losses import Boundary, CrossEntropy, WeightedSum, with_distance_maps

CLASSES = 3


def model_of(num_classes=CLASSES, jit_compile=False):
    keras.utils.set_random_seed(0)
    images = keras.Input((None, None, 1), name="images")
    logits = keras.layers.Conv2D(num_classes, 1)(images)
    model = kseg.SegmentationModel(images, logits, num_classes=num_classes, input_range=None)
    model.compile("sgd", WeightedSum([CrossEntropy(), Boundary()], [1.0, 0.1]), jit_compile=jit_compile)
    return model


def data(num_classes=CLASSES):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 8, 9, 1)).astype(np.float32)
    y = rng.integers(0, max(num_classes, 2), (4, 8, 9))
    y[:, 2, 3] = 255
    return x, y


SOURCES = {
    "arrays": lambda x, y: {"x": x, "y": np.asarray(y), "batch_size": 4},
    "dataset": lambda x, y: {"x": tf.data.Dataset.from_tensor_slices((x, np.asarray(y))).batch(4)},
}


@pytest.mark.parametrize(
    ("source", "num_classes", "jit_compile"), [("arrays", CLASSES, False), ("dataset", 1, False), ("dataset", 1, True)]
)
def test_trains_as_without_maps(source, num_classes, jit_compile):
    x, y = data(num_classes)
    histories = []
    for labels in (y, with_distance_maps(y, num_classes)):
        model = model_of(num_classes, jit_compile)
        given = SOURCES[source](x, labels)
        histories.append(model.fit(**given, epochs=2, validation_data=(x, labels), verbose=0).history)
    assert {"loss", "val_mean_iou"} <= set(histories[0])
    for name, values in histories[0].items():
        # The same sums of 144 pixels, in two graphs.
        np.testing.assert_allclose(histories[1][name], values, rtol=144 * 2**-23)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("bad", "shown"), [(7, "7"), (1.5, "1.5"), (-1, "-1")])
def test_bad_labels_are_named(source, bad, shown):
    x, y = data()
    packed = with_distance_maps(y, CLASSES).numpy()
    packed[3, 1, 1, 0] = bad
    message = rf"Labels out of range: y holds \[{shown}\], allowed are 0..2 and ignore_index=255"
    model = model_of(jit_compile=True)  # where assertions in the step are dropped
    model.compile("sgd", CrossEntropy(), jit_compile=True)
    for method in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            method(**SOURCES[source](x, packed), verbose=0)


@pytest.mark.parametrize("source", SOURCES)
def test_maps_of_another_number_of_classes_and_bare_floats_are_refused(source):
    x, y = data()
    with pytest.raises(ValueError, match=r"y .*must hold (integer labels|one label per pixel)"):
        model_of().fit(**SOURCES[source](x, with_distance_maps(y, 2)), verbose=0)
    with pytest.raises(ValueError, match=r"y .*must hold integer labels"):
        model_of().fit(**SOURCES[source](x, y.astype(np.float32)), verbose=0)


@pytest.mark.parametrize("source", SOURCES)
def test_their_size_is_checked(source):
    x, y = data()
    with pytest.raises(ValueError, match=r"y has labels of 7 x 9 pixels \(height x width\) for images of 8 x 9"):
        model_of().fit(**SOURCES[source](x, with_distance_maps(y[:, 1:], CLASSES)), verbose=0)


def test_one_hot_integers_are_still_refused():
    x, y = data()
    with pytest.raises(ValueError, match="must hold one label per pixel"):
        model_of().fit(x, np.zeros((*y.shape, 1 + CLASSES), np.int32), verbose=0)


def test_auxiliary_heads_and_margins_take_them():
    x, y = data()
    images = keras.Input((None, None, 1), name="images")
    small = keras.layers.Conv2D(CLASSES, 3, strides=2, padding="same")(images)
    auxiliary = {"auxiliary": (keras.layers.Conv2D(CLASSES, 1)(small), 0.5)}
    model = kseg.SegmentationModel(
        images, small, num_classes=CLASSES, input_range=None, upsampling="bilinear", auxiliary=auxiliary
    )
    cut = keras.layers.Conv2D(CLASSES, 3)(images)
    valid = kseg.SegmentationModel(images, cut, num_classes=CLASSES, input_range=None, margin=1)
    for network in (model, valid):
        network.compile("sgd", Boundary())
        maps, plain = (network.evaluate(x, labels, verbose=0) for labels in (with_distance_maps(y, CLASSES), y))
        assert np.isfinite(maps).all()
        np.testing.assert_allclose(maps[1:], plain[1:], rtol=2**-20)  # metrics
        assert np.isfinite(network.train_on_batch(x, with_distance_maps(y, CLASSES))).all()
