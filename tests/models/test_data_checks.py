"""Labels and images that do not fit the model: what each way of passing them answers."""

from __future__ import annotations

import pickle
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg

OUT_OF_RANGE = r"Labels out of range: y holds \[2 77\], allowed are 0..1 and ignore_index=255"


class Pixelwise(kseg.SegmentationModel):
    """The smallest model there is: the checks are the base class's, and this one traces fast."""

    def __init__(self, num_classes=2, ignore_index=255, input_range=(0, 255)):
        images = keras.Input((None, None, 3), name="images")
        logits = keras.layers.Conv2D(num_classes, 1)(images)
        super().__init__(images, logits, num_classes=num_classes, ignore_index=ignore_index, input_range=input_range)
        self.compile_default()


small = Pixelwise


def data(bad=True):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (4, 8, 8, 3), dtype="uint8"), rng.integers(0, 2, (4, 8, 8), dtype="uint8")
    y[0, 0, 0] = 255
    if bad:
        y[2, 1, 3], y[3, 4, 4] = 77, 2
    return x, y


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y, self.epochs = x, y, 0

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.x, self.y

    def on_epoch_end(self):
        self.epochs += 1


def generator(x, y):
    yield x, y


def dynamic(x, y):
    """A dataset that tells nothing about its sizes in advance."""
    signature = (tf.TensorSpec([None, None, None, 3], tf.uint8), tf.TensorSpec(None, tf.uint8))
    return tf.data.Dataset.from_generator(lambda: generator(x, y), output_signature=signature)


# Keras says so when a model of one input is given a dict or a list, and goes on.
any_structure = pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match")


def as_it_came(array):
    return array


def unknown_rank(x, y, images=False):
    """A dataset made with NumPy functions, whose results TensorFlow knows nothing about."""

    def load(x, y):
        y = tf.numpy_function(as_it_came, [y], tf.uint8)
        return tf.numpy_function(as_it_came, [x], tf.uint8) if images else x, y

    return tf.data.Dataset.from_tensors((x, y)).map(load)


SOURCES = {
    "arrays": lambda x, y: (x, y),
    "tensors": lambda x, y: (tf.constant(x), tf.constant(y)),
    "dataset": lambda x, y: (tf.data.Dataset.from_tensors((x, y)),),
    "dynamic dataset": lambda x, y: (dynamic(x, y).map(lambda x, y: (x, tf.ensure_shape(y, [None, None, None]))),),
    "weighted dataset": lambda x, y: (tf.data.Dataset.from_tensors((x, y, np.ones(4, "float32"))),),
    "py dataset": lambda x, y: (Batches(x, y),),
    "threaded py dataset": lambda x, y: (Batches(x, y, workers=2),),
    "generator": lambda x, y: (generator(x, y),),
    "dict": lambda x, y: ({"images": x}, y),
    "lists": lambda x, y: ([x], [y]),
    "dataset of dicts": lambda x, y: (tf.data.Dataset.from_tensors(({"images": x}, y)),),
    "py dataset of dicts": lambda x, y: (Batches({"images": x}, y),),
    "dataset of unknown rank": lambda x, y: (unknown_rank(x, y),),
    "dataset of unknown rank, images too": lambda x, y: (unknown_rank(x, y, images=True),),
}


@any_structure
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_label_out_of_range(source, jit_compile):
    model = small()
    model.compile("sgd", model.loss, jit_compile=jit_compile)
    for method in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=OUT_OF_RANGE):
            method(*SOURCES[source](*data()), verbose=0)


@any_structure
@pytest.mark.parametrize("source", SOURCES)
def test_good_labels_pass(source):
    # The step count is for Keras, which otherwise warns when data of unknown length ends.
    history = small().fit(*SOURCES[source](*data(bad=False)), steps_per_epoch=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_label_out_of_range_in_single_batches():
    model = small()
    for method in (model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match=OUT_OF_RANGE):
            method(*data())
        with pytest.raises(ValueError, match=OUT_OF_RANGE):
            method(*map(tf.constant, data()))
        x, y = data()
        with pytest.raises(ValueError, match=OUT_OF_RANGE):
            method([x], y)
        with pytest.raises(ValueError, match=OUT_OF_RANGE):
            method({"images": x}, [y])


@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_label_out_of_range_in_validation_data(kind):
    bad = data() if kind == "arrays" else tf.data.Dataset.from_tensors(data())
    with pytest.raises(ValueError, match=r"range: validation_data holds \[2 77\]"):
        small().fit(*data(bad=False), validation_data=bad, verbose=0)


def test_many_bad_values_are_abridged():
    x, y = data()
    y[0, 0], y[0, 1] = np.arange(100, 108), np.arange(200, 208)
    with pytest.raises(ValueError, match=r"\[2 77 100 101 102 103 104 105 \.\.\.\]"):
        small().fit(x, y, verbose=0)


def test_range_of_the_sigmoid_case_and_of_no_void():
    with pytest.raises(ValueError, match=r"\[2 77\], allowed are 0..1 and ignore_index=255"):
        small(1).fit(*data(), verbose=0)
    with pytest.raises(ValueError, match=r"\[255\], allowed are 0..1 and ignore_index=None"):
        small(ignore_index=None).fit(*data(bad=False), verbose=0)
    x, y = data(bad=False)
    with pytest.raises(ValueError, match=r"\[-1 255\]"):
        small(ignore_index=-2).fit(x, np.where(y == 1, -1, y.astype("int64")), verbose=0)


@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_float_labels(kind):
    x, y = data(bad=False)
    y = y.astype("float32")
    source = (x, y) if kind == "arrays" else (tf.data.Dataset.from_tensors((x, y)),)
    with pytest.raises(ValueError, match=r"must hold integer labels.*got dtype float32. Cast them"):
        small().fit(*source, verbose=0)


def test_label_sizes():
    x, y = data(bad=False)
    message = r"labels of 8 x 7 pixels \(height x width\) for images of 8 x 8: labels must have the size of the images"
    with pytest.raises(ValueError, match=message):
        small().fit(x, y[:, :, :7], verbose=0)
    with pytest.raises(ValueError, match=message):
        small().fit(tf.data.Dataset.from_tensors((x, y[:, :, :7])), verbose=0)
    with pytest.raises(ValueError, match=r"one label per pixel.*got shape \(4, 8, 8, 2\)"):
        small().fit(x, np.stack([y, y], -1), verbose=0)
    with pytest.raises(ValueError, match=r"one label per pixel.*got shape \(4,\)"):
        small().fit(x, y[:, 0, 0], verbose=0)
    unknown = SOURCES["dynamic dataset"](x, y[:, :, :7])
    with pytest.raises(
        ValueError, match=r"labels of 8 x 7 pixels .* for images of 8 x 8: .* height and width of the im"
    ):
        small().fit(*unknown, verbose=0)
    valid = kseg.UNet(2, filters=2, depth=2, padding="valid")
    x = np.zeros((1, 24, 24, 3), "uint8")
    with pytest.raises(ValueError, match="size of the images, or that of the logits, 8 x 8"):
        valid.fit(x, np.zeros((1, 9, 9), "uint8"), verbose=0)


@pytest.mark.parametrize("source", ["arrays", "dataset", "dynamic dataset", "generator", "threaded py dataset"])
def test_number_of_labels(source):
    x, y = data(bad=False)
    with pytest.raises(ValueError, match="y has 3 label maps for 4 images: each image needs one"):
        small().fit(*SOURCES[source](x, y[:3]), verbose=0)


@pytest.mark.parametrize("last", [False, True])
def test_wrong_labels_in_a_later_batch(last):
    """Keras looks at the first batch in Python; an error in a later one comes back through the graph."""
    x, y = data(bad=False)

    def batches():
        for _ in range(4):
            yield x, y
        yield (x, y[:3]) if last else (x, y[:, :5])

    message = "3 label maps for 4 images" if last else "labels of 5 x 8 pixels .* for images of 8 x 8"
    with pytest.raises(ValueError, match=message):
        small().fit(batches(), verbose=0)


def test_shapes_of_unknown_rank():
    x, y = data(bad=False)
    assert np.isfinite(small().fit(unknown_rank(x, y[..., None]), verbose=0).history["loss"]).all()
    with pytest.raises(ValueError, match=r"y must hold one label per pixel.*got shape 8 x 8"):
        small().fit(unknown_rank(x, y[0]), verbose=0)
    with pytest.raises(ValueError, match=r"shape \(any, any, any, 3\); got shape 4 x 8 x 8 x 1.*with set_shape"):
        small().fit(unknown_rank(x[..., :1], y, images=True), verbose=0)


@pytest.mark.parametrize("source", ["arrays", "lists", "dataset", "generator", "py dataset"])
def test_images_that_do_not_fit(source):
    x, y = data(bad=False)
    with pytest.raises(ValueError, match=r"must hold images with 3 channel\(s\).*got 1, in shape \(4, 8, 8, 1\)"):
        small().fit(*SOURCES[source](x[..., :1], y), verbose=0)
    with pytest.raises(ValueError, match=r"images of shape \(any, any, any, 3\); got shape \(4, 8, 8\): batch the im"):
        small().fit(*SOURCES[source](x[..., 0], y), verbose=0)


def test_images_of_another_than_the_fixed_size():
    model = kseg.UNet(2, (16, 16, 3), filters=2, depth=1)
    with pytest.raises(ValueError, match=r"the model's fixed size, \(any, 16, 16, 3\); got shape \(4, 8, 8, 3\)"):
        model.predict(data()[0], verbose=0)


def test_size_checks_can_be_sent_to_worker_processes():
    check = pickle.loads(pickle.dumps(kseg.UNet(2, filters=2, depth=2, padding="valid").batch_check()))
    x = np.zeros((1, 24, 24, 3), "uint8")
    check((x, np.zeros((1, 8, 8), "uint8")))
    with pytest.raises(ValueError, match="that of the logits, 8 x 8"):
        check((x, np.zeros((1, 9, 9), "uint8")))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_sample_weights_of_changing_rank(padding, jit_compile):
    """Keras traces one step for all of them, in which the rank of the weights is unknown."""
    model = kseg.UNet(2, filters=2, depth=2, padding=padding)
    model.compile(keras.optimizers.SGD(0.0), model.loss, metrics=[], jit_compile=jit_compile)
    x, y = np.zeros((2, 24, 24, 3), "uint8"), np.zeros((2, 24, 24), "uint8")
    y[1, ::2] = 1
    weights = np.array([1, 3], "float32")
    losses = []
    for shape in ((2,), (2, 1, 1), (2, 1, 1, 1), (2,)):
        each = weights.reshape(shape)
        each = each if len(shape) == 1 else np.broadcast_to(each, (2, 24, 24, 1)[: len(shape)])
        losses += model.fit(x, y, sample_weight=each, verbose=0).history["loss"]
    # Each is the same sum of 1152 products, in an order that may differ.
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


def test_dataset_without_labels():
    with pytest.raises(ValueError, match=r"the dataset must yield \(image, label\)"):
        small().fit(tf.data.Dataset.from_tensors(data()[0]), verbose=0)


def test_py_dataset_keeps_its_callbacks():
    batches = Batches(*data(bad=False))
    small().fit(batches, epochs=2, verbose=0)
    assert batches.epochs >= 2  # some Keras versions call it once more than there are epochs


def rescaled(kind):
    x, y = data(bad=False)
    x = (x / 255).astype("float32")
    if kind == "arrays":
        return x, y
    dataset = tf.data.Dataset.from_tensors((x, y)).repeat(3)
    return (dataset,)


def _fit_twice_and_predict(model, kind):
    model.fit(*rescaled(kind), verbose=0)
    model.fit(*rescaled("arrays"), verbose=0)
    model.predict(rescaled("arrays")[0], verbose=0)


@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_rescaled_images_warn_once(kind):
    model = small()
    with pytest.warns(UserWarning, match=r"within 0..1, but the model expects 0..255") as caught:
        _fit_twice_and_predict(model, kind)
    assert len([w for w in caught if "within 0..1" in str(w.message)]) == 1


def test_rescaled_images_warn_in_predict_and_single_batches():
    x = rescaled("arrays")[0]
    for elements in (x, (x,), rescaled("arrays")):
        with pytest.warns(UserWarning, match=r"within 0..1"):
            logits = small().predict(tf.data.Dataset.from_tensors(elements), verbose=0)
        assert logits.shape == (4, 8, 8, 2)
    for call in ("predict", "predict_on_batch"):
        with pytest.warns(UserWarning, match=r"within 0..1"):
            getattr(small(), call)(rescaled("arrays")[0])
    with pytest.warns(UserWarning, match=r"within 0..1"):
        small().train_on_batch(*rescaled("arrays"))


@any_structure
def test_rescaled_images_warn_after_raw_ones_and_black_ones():
    x, y = data(bad=False)
    rescaled_x = rescaled("arrays")[0]
    black_first = np.concatenate([np.zeros((8, 8, 8, 3), "float32"), rescaled_x])
    for images in (rescaled_x, [rescaled_x], {"images": rescaled_x}, black_first):
        model = small()
        model.fit(x.astype("float32"), y, verbose=0)
        with pytest.warns(UserWarning, match="within 0..1"):
            model.predict(images, verbose=0)


def test_images_in_range_do_not_warn():
    x, y = data(bad=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small().fit(x.astype("float32"), y, verbose=0)
        small().fit(tf.data.Dataset.from_tensors((x.astype("float32"), y)), verbose=0)
        small().fit((x > 100).astype("uint8"), y, verbose=0)  # integers within 0..1 say nothing
        small().fit((x > 100).astype("float32"), y, verbose=0)  # nor do floats without a fraction: a dark raw image
        small(input_range=(0, 1)).fit(*rescaled("arrays"), verbose=0)
        small(input_range=None).fit(*rescaled("arrays"), verbose=0)


def test_the_check_leaves_the_order_of_a_shuffled_dataset_alone():
    """Looking into the data beforehand would change what each epoch sees."""
    x, y = data(bad=False)
    seen = []
    dataset = tf.data.Dataset.from_tensor_slices((x.astype("float32"), y))
    dataset = dataset.map(lambda x, y: (tf.numpy_function(lambda a: (seen.append(1), a)[1], [x], tf.float32), y))
    dataset = dataset.map(lambda x, y: (tf.ensure_shape(x, [8, 8, 3]), y)).batch(2)
    small().fit(dataset, verbose=0)
    assert len(seen) == 4
