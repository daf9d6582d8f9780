"""Sample weights: from folders, functions and lists, and in step with the labels."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import Image

import kseg
from kseg.data import Augment, DataError, FolderSource, Source, Subset, from_folder, pipeline
from tests.helpers.data_files import write_folder


class Places(Source):
    """Masks whose labels number their pixels, so that a weight tells where it came from."""

    def __init__(self, count=6, size=(12, 10)):
        super().__init__(channels=1, num_classes=200, ignore_index=255)
        self.count, self.size, self.calls = count, size, 0

    def __len__(self):
        return self.count

    def load(self, index):
        mask = (np.arange(self.size[0] * self.size[1]) % 200).reshape(self.size).astype(np.uint8)
        return mask[..., None], mask

    def weights(self, mask):
        self.calls += 1
        return mask * 0.5 + 1


AUGMENTS = {
    "none": None,
    "crop": Augment(crop=(7, 6)),
    "flips": Augment(flip="both", rotate90=True),
    "all": Augment(rotate=40, scale=0.4, elastic=1.5, flip="both", noise=0.1, contrast=0.2),
}


@pytest.mark.parametrize("name", AUGMENTS)
@pytest.mark.parametrize("options", [{}, {"crop_size": (5, 20)}, {"size": (9, 15)}, {"size": 16, "crop_size": 8}])
def test_weights_travel_with_their_labels(name, options):
    source = Places()
    dataset = pipeline(source, 3, weights=source.weights, augment=AUGMENTS[name], epoch=0, **options)
    assert dataset.element_spec[2].dtype == tf.float32
    assert dataset.element_spec[2].shape.as_list() == dataset.element_spec[1].shape.as_list()
    void = 0
    for _, mask, weight in dataset:
        assert weight.shape == mask.shape
        outside = mask.numpy() == 255
        np.testing.assert_array_equal(weight, np.where(outside, 0, mask.numpy() * 0.5 + 1))
        void += outside.sum()
    if "crop_size" in options and options["crop_size"] == (5, 20):
        assert void > 0


def test_the_pairs_are_those_without_weights():
    options = {"augment": AUGMENTS["all"], "crop_size": 8, "shuffle": True, "epoch": 2, "seed": 4}
    plain = list(pipeline(Places(), 3, **options))
    weighted = list(pipeline(Places(), 3, weights=lambda mask: np.ones(mask.shape), **options))
    for (image, mask), (image2, mask2, _) in zip(plain, weighted, strict=True):
        np.testing.assert_array_equal(image, image2)
        np.testing.assert_array_equal(mask, mask2)


def test_one_number_per_sample_follows_the_order():
    dataset = pipeline(Places(), 4, weights=range(6), shuffle=True, epoch=3, seed=1)
    assert dataset.element_spec[2].shape.as_list() == [None]
    found = np.concatenate([weight.numpy() for _, _, weight in dataset])
    assert sorted(found) == list(range(6))
    assert found.tolist() != list(range(6))
    np.testing.assert_array_equal(found, kseg.data.hashing.permutation(6, 1, 3))


def test_one_number_for_a_whole_image():
    (_, mask, weight), *_ = pipeline(Places(), 6, weights=lambda mask: 3)
    np.testing.assert_array_equal(weight, np.full(mask.shape, 3.0))


def test_functions_are_given_their_own_labels():
    source = Places(2)

    def spoil(mask):
        mask[:] = 0
        return mask + 1.0

    (_, mask, weight), *_ = pipeline(source, 2, weights=spoil, cache=True)
    assert mask.numpy().max() > 0
    np.testing.assert_array_equal(weight, np.ones(mask.shape))


def test_cache():
    source = Places(4)
    dataset = pipeline(source, 2, weights=source.weights, cache=True)
    assert len([list(dataset) for _ in range(3)]) == 3
    assert source.calls == 4


@pytest.fixture
def folder(tmp_path):
    root = write_folder(tmp_path, count=3)
    (root / "weights").mkdir()
    values = np.random.default_rng(0).uniform(0, 4, (12, 16)).astype(np.float32)
    np.save(root / "weights" / "im00.npy", values.astype(np.float64))
    tifffile.imwrite(root / "weights" / "im01.tif", values)
    Image.fromarray(values.astype(np.uint8)).save(root / "weights" / "im02.png")
    return root, values


def test_weights_folder(folder):
    root, values = folder
    ((_, _, weight),) = from_folder(root / "images", root / "masks", 3, weights=root / "weights")
    np.testing.assert_array_equal(weight[0], values)
    np.testing.assert_array_equal(weight[1], values)
    np.testing.assert_array_equal(weight[2], np.floor(values))
    source = Subset(FolderSource(root / "images", root / "masks"), [2, 0])
    ((_, _, weight),) = pipeline(source, 2, weights=str(root / "weights"))
    np.testing.assert_array_equal(weight[1], values)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: (folder / "im01.tif").unlink(),
            r"weights: 1 of 3 samples have no file of their name in .*weights: im01\.npy \(or \.tif, \.png\)",
        ),
        (
            lambda folder: np.save(folder / "im01.npy", np.zeros(2)),
            r"im01\.npy and im01\.tif have the same stem: keep one",
        ),
        (
            lambda folder: np.save(folder / "im00.npy", np.zeros((3, 4))),
            r"weights .*im00\.npy: one number per pixel of the mask is expected, 12x16 .*array of the shape \(3, 4\)",
        ),
        (
            lambda folder: np.save(folder / "im00.npy", np.where(np.arange(192).reshape(12, 16) == 37, np.nan, 1)),
            r"weights .*im00\.npy: weights must be finite and at least 0, got nan at row 2, column 5",
        ),
        (lambda folder: np.save(folder / "im00.npy", -np.ones((12, 16))), r"at least 0, got -1\.0 at row 0, column 0"),
        (lambda folder: (folder / "im00.npy").write_bytes(b"x"), r"weights .*im00\.npy cannot be read: .*np\.save"),
        (
            lambda folder: Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(folder / "im02.png"),
            r"weights .*im02\.png has 3 channels, expected one",
        ),
    ],
)
def test_broken_folders(folder, spoil, message):
    root, _ = folder
    spoil(root / "weights")
    with pytest.raises((DataError, tf.errors.InvalidArgumentError), match=message):
        list(from_folder(root / "images", root / "masks", 3, weights=root / "weights"))


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ("nowhere", DataError, "weights: no such folder: nowhere"),
        ([1, 2], ValueError, r"one number per sample, 6 of them, got an array of the shape \(2,\)"),
        ([1, 2, 3, 4, 5, -6], ValueError, "weights must be finite numbers of at least 0, one per sample"),
        (
            object(),
            TypeError,
            "weights must be a folder, a function of the labels, or one number per sample, got <object",
        ),
    ],
)
def test_weights_that_cannot_be(weights, error, message):
    with pytest.raises(error, match=message):
        pipeline(Places(), 2, weights=weights)


def test_functions_that_fail_name_the_sample():
    for function, message in (
        (lambda mask: mask[:2], r"the weights of 00000: one number per pixel of the mask is expected, 12x10 "),
        (lambda mask: "a", "the weights of 00000: the function weights failed: could not convert"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            list(pipeline(Places(1), 1, weights=function))


def test_foreign_augmentation_must_carry_them():
    def plain(image, mask, seed):
        return image, mask

    def carrying(image, mask, seed, weights):
        return image[:, ::-1], mask[:, ::-1], weights[:, ::-1]

    source = Places(2)
    with pytest.raises(TypeError, match=r"augment must take weights=\.\.\. and return \(image, mask, weights\)"):
        pipeline(source, 2, augment=plain, weights=source.weights)
    ((_, mask, weight),) = pipeline(source, 2, augment=carrying, weights=source.weights)
    np.testing.assert_array_equal(weight, mask.numpy() * 0.5 + 1)
    ((_, _, weight),) = pipeline(source, 2, augment=plain, weights=[2, 3])
    assert weight.numpy().tolist() == [2, 3]


@pytest.mark.parametrize("weights", [[1, 3], lambda mask: np.where(mask == 1, 5.0, 0.5)])
def test_losses_and_fit_take_them(tmp_path, weights):
    root = write_folder(tmp_path, count=2, size=(16, 16))
    dataset = from_folder(root / "images", root / "masks", 2, weights=weights)
    model = kseg.UNet(3, (None, None, 3), filters=4, depth=2, norm=None)
    ((image, mask, weight),) = dataset
    costs = tf.keras.losses.sparse_categorical_crossentropy(mask, model(image, training=False), from_logits=True)
    weight = weight.numpy() if weight.ndim == 3 else weight.numpy()[:, None, None]
    expected = (costs.numpy() * weight).mean()
    np.testing.assert_allclose(model.evaluate(dataset, verbose=0, return_dict=True)["loss"], expected, rtol=1e-5)
    model.fit(dataset, verbose=0)
