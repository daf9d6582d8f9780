"""Images and weights that training does not survive: an error before any step, and the model as before."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg


class Pixelwise(kseg.SegmentationModel):
    """The smallest model there is: the checks are the base class's, and this one traces fast."""

    def __init__(self):
        images = keras.Input((None, None, 3), name="images")
        logits = keras.layers.Conv2D(2, 1)(images)
        super().__init__(images, logits, num_classes=2)
        self.compile_default()


class Batches(keras.utils.PyDataset):
    def __init__(self, *batch):
        super().__init__()
        self.batch = batch

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.batch


def data():
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (4, 8, 8, 3)).astype("float32"), rng.integers(0, 2, (4, 8, 8), dtype="uint8")


def generator(*batch):
    yield batch


SOURCES = {
    "tensors": lambda *batch: tuple(map(tf.constant, batch)),
    "dataset": lambda *batch: (tf.data.Dataset.from_tensors(batch),),
    "py dataset": lambda *batch: (Batches(*batch),),
    "generator": lambda *batch: (generator(*batch),),
    "arrays": lambda *batch: batch,
}


@pytest.fixture
def model():
    """Checked to be as before in the end."""
    model = Pixelwise()
    before = [weight.numpy() for weight in model.weights]
    yield model
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("value", "text"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_images_that_are_not_finite(model, source, value, text):
    x, y = data()
    x[2, 3, 4, 1] = value
    if source == "dataset":
        message = rf"x \(the images of the dataset\) must hold finite values; got {text} which .*with np.nan_to_num"
    else:
        message = rf"x must hold finite values; got {text}, first at index \(2, 3, 4, 1\), which .*with np.nan_to_num"
    with pytest.raises(ValueError, match=message):
        model.fit(*SOURCES[source](x, y), verbose=0)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats(model, dtype):
    x, y = data()
    x = x.astype(dtype)
    x[-1, -1, -1, -1] = np.inf
    with pytest.raises(ValueError, match=r"x must hold finite values; got inf, first at index \(3, 7, 7, 2\)"):
        model.train_on_batch(x, y)
    with pytest.raises(ValueError, match=r"x .* must hold finite values; got inf"):
        model.fit(tf.data.Dataset.from_tensors((x, y)), verbose=0)


def test_place_of_a_value_beyond_the_part_that_is_looked_at_at_once():
    from kseg.models.value_check import check_array

    values = np.zeros((9, 2**20), "float32")
    check_array(values, "x")
    values[7, 5] = np.nan
    with pytest.raises(ValueError, match=r"index \(7, 5\)"):
        check_array(values, "x")


@pytest.mark.parametrize("wrap", [lambda *data: data, lambda *data: tf.data.Dataset.from_tensors(data)])
def test_validation_images(wrap):
    x, y = data()
    bad = x.copy()
    bad[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"validation_data .*must hold finite values; got nan"):
        Pixelwise().fit(x, y, validation_data=wrap(bad, y), verbose=0)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("value", "text"), [(np.nan, "nan"), (np.inf, "inf"), (-1.5, "-1.5")])
def test_weights_that_are_none(model, source, value, text):
    weights = np.ones((4, 8, 8), "float32")
    weights[1, 2, 3] = value
    message = (
        rf"sample_weight must hold finite weights of at least 0; got {text}.* which makes the loss NaN or negative"
    )
    if len(arguments := SOURCES[source](*data(), weights)) == 1:
        with pytest.raises(ValueError, match=message):
            model.fit(*arguments, verbose=0)
        return
    x, y, weights = arguments
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match=message):
            call(x, y, sample_weight=weights)
    with pytest.raises(ValueError, match=message):
        model.evaluate(x, y, 2, 0, weights)
    with pytest.raises(ValueError, match="sample_weight of validation_data must hold finite weights"):
        model.fit(x, y, validation_data=(x, y, weights))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("shape", [(4, 8), (4, 4, 8), (4, 8, 8, 2), (4, 8, 8, 1, 1)])
def test_shapes_of_weights_that_do_not_fit(model, source, shape):
    message = (
        r"sample_weight must be one weight per image, \(batch,\), or per pixel, \(batch, height, width\) or "
        rf"\(batch, height, width, 1\); got shape \({', '.join(map(str, shape))}\) for labels of shape \(4, 8, 8\)"
    )
    arguments = SOURCES[source](*data(), np.ones(shape, "float32"))
    options = {"sample_weight": arguments[2]} if len(arguments) == 3 else {}
    with pytest.raises(ValueError, match=message):
        model.fit(*arguments[:2], **options, verbose=0)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 1, 1), (4, 8, 8), (4, 8, 8, 1), (4, 1, 8)])
def test_shapes_of_weights_that_fit(source, shape):
    arguments = SOURCES[source](*data(), np.ones(shape, "float32"))
    options = {"sample_weight": arguments[2]} if len(arguments) == 3 else {}
    model = Pixelwise()
    before = model.evaluate(*data(), verbose=0)[0]
    assert np.isfinite(before)
    history = model.fit(*arguments[:2], **options, steps_per_epoch=1, verbose=0).history
    np.testing.assert_allclose(history["loss"], before, rtol=1e-5)  # weights of 1 change nothing


def test_number_of_weights(model):
    with pytest.raises(ValueError, match=r"got shape \(3,\) for labels of shape \(4, 8, 8\)"):
        model.fit(*data(), sample_weight=np.ones(3), verbose=0)


def test_weights_of_the_size_of_the_logits():
    from kseg.models.size_check import SizeCheck

    check = SizeCheck((None, None, None, 3), lambda height, width: (height - 16, width - 16))
    for size in (24, 8, 1):
        check.check_weights((1, 24, 24, 3), (1, 24, 24), (1, size, size))
    check.check_weights((None, None, None, 3), (None, 24, None), (2, 7, 24))  # may be right
    with pytest.raises(ValueError, match=r"got shape \(1, 9, 9\) for labels of shape \(1, 24, 24\)"):
        check.check_weights((1, 24, 24, 3), (1, 24, 24), (1, 9, 9))


@pytest.mark.parametrize("source", ["arrays", "dataset"])
def test_complex_images(model, source):
    x, y = data()
    message = r"x .*must hold integers or floats; got dtype .*complex64.*Convert it, complex numbers with np.abs"
    with pytest.raises(TypeError, match=message):
        model.fit(*SOURCES[source](x.astype("complex64"), y), verbose=0)


@pytest.mark.parametrize("shape", [(4, 0, 8), (4, 8, 0)])
@pytest.mark.parametrize("source", ["arrays", "dataset"])
def test_images_without_pixels(model, source, shape):
    message = rf"x .*images of at least 1 x 1 pixels; got shape \({', '.join(map(str, shape))}, 3\): find out where"
    with pytest.raises(ValueError, match=message):
        model.fit(*SOURCES[source](np.zeros((*shape, 3), "float32"), np.zeros(shape, "uint8")), verbose=0)


def test_labels_that_are_missing(model):
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(
            ValueError, match=r"y is missing: x holds images alone, and .* needs integer labels of shape"
        ):
            call(data()[0], None)
    with pytest.raises(ValueError, match="y is missing: validation_data holds images alone"):
        model.fit(*data(), validation_data=(data()[0], None))
