"""Objects from files of ids."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kseg.data import DataError, InstanceFolderSource, from_instance_folder, instances_from_masks
from tests.data.test_instances import random_ids


def write(root, count=3, sizes=((12, 16),)):
    """Folders of images, ids (one more than the number of the image is added), and labels 1 and 2."""
    for name in ("images", "ids", "labels"):
        (root / name).mkdir()
    for index in range(count):
        size = sizes[index % len(sizes)]
        ids = random_ids(index, size)
        Image.fromarray(np.full(size, index, np.uint8)).save(root / "images" / f"a{index}.png")
        Image.fromarray(ids.astype(np.uint16) * 300).save(root / "ids" / f"a{index}.png")
        Image.fromarray((ids % 20 // 10 + 1).astype(np.uint8)).save(root / "labels" / f"a{index}.png")
    return root / "images", root / "ids", root / "labels"


def test_ids(tmp_path):
    images, ids, _ = write(tmp_path)
    source = InstanceFolderSource(images, ids)
    assert (len(source), source.num_classes, source.channels, source.names) == (3, 1, 3, ["a0", "a1", "a2"])
    for index in range(3):
        image, instances = source.load(index)
        np.testing.assert_array_equal(image, np.full((12, 16, 3), index, np.uint8))
        expected = instances_from_masks(random_ids(index, (12, 16)))
        np.testing.assert_array_equal(instances.masks, expected.masks)
        np.testing.assert_array_equal(instances.boxes, expected.boxes)


def test_labels(tmp_path):
    images, ids, labels = write(tmp_path)
    source = InstanceFolderSource(images, ids, labels, class_names=["even", "odd"])
    found = [source.load(index)[1].classes.tolist() for index in range(3)]
    numbers = [np.unique(random_ids(index, (12, 16))) for index in range(3)]
    assert found == [[number % 20 // 10 for number in some.tolist() if number] for some in numbers]
    assert {label for some in found for label in some} == {0, 1}
    with pytest.raises(ValueError, match="num_classes must be given with labels_dir: the number of classes of objects"):
        InstanceFolderSource(images, ids, labels)


def test_batches(tmp_path):
    images, ids, labels = write(tmp_path, 4, ((12, 16), (20, 10)))
    dataset = from_instance_folder(images, ids, 2, labels_dir=labels, num_classes=2, image_size=[(24, 32), (40, 24)])
    batches = list(dataset)
    assert [tuple(batch.shape) for batch, _ in batches] == [(2, 24, 32, 3), (2, 40, 24, 3)]
    assert [targets["image_ids"].numpy().tolist() for _, targets in batches] == [[0, 2], [1, 3]]


def test_as_targets():
    instances = instances_from_masks(random_ids(2), crowd_ids=[3])
    targets = instances.as_targets(8)
    assert {name: (value.dtype.name, value.shape) for name, value in targets.items()} == {
        "boxes": ("float32", (8, 4)),
        "classes": ("int32", (8,)),
        "masks": ("uint8", (8, 13, 3)),
        "crowd": ("bool", (8,)),
        "sizes": ("int32", (2,)),
    }
    count = len(instances)
    np.testing.assert_array_equal(targets["boxes"][:count], instances.boxes)
    assert targets["classes"].tolist() == [0] * count + [-1] * (8 - count)
    assert targets["crowd"].tolist() == instances.crowd.tolist() + [False] * (8 - count)
    assert not targets["masks"][count:].any()
    assert targets["sizes"].tolist() == [13, 21]
    most = int(np.argmax(instances.areas()))
    np.testing.assert_array_equal(instances.as_targets(1)["boxes"], instances.boxes[most : most + 1])


def test_problems(tmp_path):
    images, ids, labels = write(tmp_path)
    with pytest.raises(DataError, match=r"ids_dir: no such folder: .*none"):
        InstanceFolderSource(images, tmp_path / "none")
    mixed = np.asarray(Image.open(labels / "a0.png")).copy()
    mixed[:, ::2] = 2
    Image.fromarray(mixed).save(labels / "a0.png")
    with pytest.raises(DataError, match=r"a0.png: an object has one class, but labels differ within id"):
        InstanceFolderSource(images, ids, labels, 2).load(0)
    Image.fromarray(np.zeros((12, 17), np.uint16)).save(ids / "a1.png")
    source = InstanceFolderSource(images, ids)
    with pytest.raises(DataError, match=r"a1.png is 12x16 but its mask .*a1.png is 12x17"):
        source.load(1)
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(ids / "a2.png")
    with pytest.raises(DataError, match=r"a2.png has 3 channels, expected one number per pixel, in one channel"):
        source.load(2)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"a1.png is 12x16 but its mask"):
        list(from_instance_folder(images, ids, 2))
    (ids / "a2.png").unlink()
    with pytest.raises(DataError, match="1 of 3 images have no mask named"):
        InstanceFolderSource(images, ids)
