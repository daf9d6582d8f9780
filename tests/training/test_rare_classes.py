"""Settings of a run that help rare classes: where crops lie, and how the loss weighs classes."""

from __future__ import annotations

import numpy as np
import pytest

from kseg.data import ClassBalancedCrop, ForegroundCrop
from kseg.training.rare_classes import class_weights, crop_place
from kseg.training.run_config import RunConfig
from kseg.training.tasks import task_of
from tests.helpers.data_files import write_pair


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Six images of 64 x 64, of which 4 x 4 pixels are class 1 and 2 x 2 class 2; a row is void."""
    from kseg.data import open_folder

    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(1)
    for index in range(8):
        mask = np.zeros((64, 64), np.uint8)
        row, column = random.integers(2, 58, 2)
        mask[row : row + 4, column : column + 4] = 1
        mask[row : row + 2, column : column + 2] = 2
        mask[0] = 255
        write_pair(root, f"im{index}", mask, mask)
    return open_folder(root, val_count=2, seed=0)[0]


# Anywhere, a crop meets the object with a chance of about (20 / 49)**2; a third of the classes is the background.
@pytest.mark.parametrize(
    ("around", "low", "high"), [("anywhere", 0, 0.4), ("foreground", 1, 1), ("classes", 0.5, 0.95)]
)
def test_crops_lie_where_they_should(source, around, low, high):
    config = RunConfig(crop_size=16, crop_around=around, crop_share=1.0, augment="none", batch_size=6)
    met = []
    for epoch in range(5):
        ((_, masks),) = task_of(config).train_batches(source, epoch, 0)
        met += np.any((masks.numpy() > 0) & (masks.numpy() < 255), axis=(1, 2)).tolist()
    assert len(met) == 30
    assert low <= np.mean(met) <= high


def test_the_share_reaches_the_crops():
    names = ("anywhere", "foreground", "classes")
    of = {name: crop_place(RunConfig(crop_size=16, crop_around=name, crop_share=0.25)) for name in names}
    assert of["anywhere"] is None
    assert (type(of["foreground"]), type(of["classes"])) == (ForegroundCrop, ClassBalancedCrop)
    assert of["foreground"].probability == of["classes"].probability == 0.25


def test_class_weights_are_those_of_the_training_masks(source):
    pixels, counts = 63 * 64, np.array([63 * 64 - 16, 12, 4])
    weights = class_weights(RunConfig(class_weights="inverse-frequency"), source)
    np.testing.assert_allclose(weights, pixels / (3 * counts))
    enet = class_weights(RunConfig(class_weights="enet"), source)
    np.testing.assert_allclose(enet, 1 / np.log(1.02 + counts / pixels))
    np.testing.assert_allclose(
        class_weights(RunConfig(class_weights="median-frequency"), source), np.median(counts) / counts
    )
    assert class_weights(RunConfig(), source) is None
    config = RunConfig(class_weights="inverse-frequency", filters=2, depth=1, loss="ce+dice")
    loss = task_of(config).build_model(source, steps=1).loss
    assert [tuple(one.class_weights) for one in loss.losses] == [weights] * 2


def test_a_class_that_the_masks_lack_weighs_1():
    mask = np.array([[0, 0, 0, 1]])

    class Source:
        num_classes, ignore_index = 3, 255

        def __len__(self):
            return 1

        def load(self, index):
            return None, mask

    source = Source()
    assert class_weights(RunConfig(class_weights="inverse-frequency"), source) == pytest.approx((4 / 6, 2.0, 1.0))
