"""COCO's formats of masks, categories, and files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from kseg.data import CocoSource, DataError, InstanceSubset, check_coco, from_coco, open_coco
from kseg_ops import rle
from tests.helpers.coco_files import SQUARE, annotation_entry, image_entry, write_coco
from tests.helpers.shared_data import shared_data


def runs(mask) -> dict:
    """COCO's uncompressed form, counted here."""
    line = np.asarray(mask).T.ravel()
    changes = np.flatnonzero(np.diff(line, prepend=0))
    return {"size": list(np.shape(mask)), "counts": np.diff([0, *changes, line.size]).tolist()}


def blob(seed, size=(12, 16)):
    return (np.random.default_rng(seed).random(size) < 0.4).astype(np.uint8)


def test_every_form_of_a_mask_is_what_pycocotools_makes_of_it(tmp_path, capsys):
    compressed = rle.encode(blob(1))
    compressed["counts"] = compressed["counts"].decode()
    parts = [[1.3, 0.6, 7.9, 2.2, 4.4, 8.8], [9.1, 5.5, 15.9, 5.5, 15.9, 11.7, 9.1, 11.2]]
    files = write_coco(
        tmp_path,
        [image_entry(1), image_entry(9)],
        [
            annotation_entry(1, segmentation=parts),
            annotation_entry(2, segmentation=runs(blob(2)), iscrowd=1, category=7),
            annotation_entry(3, segmentation=compressed, image=9),
            annotation_entry(4, image=9, category=7),
        ],
    )
    source = CocoSource(*files)
    oracle = COCO(str(files[1]))
    capsys.readouterr()
    assert source.image_ids == [1, 9]
    assert source.names == ["im1.png", "im9.png"]
    assert source.counts == [2, 2]
    for index, image_id in enumerate(source.image_ids):
        image, instances = source.load(index)
        entries = oracle.imgToAnns[image_id]
        np.testing.assert_array_equal(image, np.asarray(Image.open(source.image_paths[index])))
        np.testing.assert_array_equal(instances.dense(), [oracle.annToMask(entry) for entry in entries])
        assert instances.crowd.tolist() == [bool(entry["iscrowd"]) for entry in entries]
        assert instances.classes.tolist() == [{3: 0, 7: 1}[entry["category_id"]] for entry in entries]


def test_fruits_and_nuts_are_what_pycocotools_makes_of_them(capsys):
    folder = shared_data("fruits_nuts")
    source = CocoSource(folder / "images", folder / "instances.json")
    oracle = COCO(str(folder / "instances.json"))
    capsys.readouterr()
    assert source.class_names == ["date", "fig", "hazelnut"]
    assert sum(source.counts) == 138
    for index in range(len(source)):
        entries = oracle.imgToAnns[source.image_ids[index]]
        instances = source.load_instances(index)
        np.testing.assert_array_equal(instances.dense(), [oracle.annToMask(entry) for entry in entries])
        assert [source.category_ids[label] for label in instances.classes] == [e["category_id"] for e in entries]


def test_batches_of_fruits_and_nuts():
    folder = shared_data("fruits_nuts")
    dataset = from_coco(folder / "images", folder / "instances.json", 3, min_side=96, max_side=128)
    found = 0
    for images, targets in dataset:
        assert images.shape[1:] == (96, 128, 3)
        assert targets["sizes"].numpy().tolist() == [[96, 128]] * len(images)
        found += int((targets["classes"].numpy() >= 0).sum())
    assert found == 138


def test_categories(tmp_path):
    annotations = [annotation_entry(1), annotation_entry(2, category=7), annotation_entry(3, category=9)]
    files = write_coco(tmp_path, annotations=annotations, categories=((9, "eel"), (3, "cat"), (7, "dog")))

    def classes(categories):
        source = CocoSource(*files, categories=categories)
        return source.class_names, source.load_instances(0).classes.tolist()

    assert classes(None) == (["cat", "dog", "eel"], [0, 1, 2])  # by id, not as the file lists them
    assert classes(["eel", 3]) == (["eel", "cat"], [1, 0])
    assert CocoSource(*files, categories=["dog"]).category_ids == [7]
    with pytest.raises(DataError, match=r"categories: 'cow' is not listed in .*instances.json, which has 3 'cat', 7"):
        classes(["cow"])
    with pytest.raises(DataError, match=r"categories must be different, got \['cat', 3\]"):
        classes(["cat", 3])
    with pytest.raises(TypeError, match="categories must be a list of ids or names, or None for all, got 'cat'"):
        classes("cat")


def test_categories_of_one_name(tmp_path):
    files = write_coco(tmp_path, annotations=[annotation_entry(1)], categories=((0, "cat"), (3, "cat")))
    with pytest.raises(
        DataError, match=r"instances.json: the names of categories must hold different names, got 'cat'"
    ):
        CocoSource(*files)
    with pytest.raises(DataError, match="categories: 'cat' names several categories of"):
        CocoSource(*files, categories=["cat"])
    assert CocoSource(*files, categories=[3]).class_names == ["cat"]


def test_boxes_as_masks(tmp_path):
    entry = annotation_entry(1, segmentation=[], bbox=[2, 3, 5, 4])
    files = write_coco(tmp_path, annotations=[entry])
    instances = CocoSource(*files, boxes_as_masks=True).load_instances(0)
    assert instances.boxes.tolist() == [[2, 3, 7, 7]]
    assert instances.areas().tolist() == [20]


def test_images_without_objects(tmp_path):
    files = write_coco(tmp_path, [image_entry(1), image_entry(2)], [annotation_entry(1, image=2)])
    source = CocoSource(*files)
    assert source.counts == [0, 1]
    assert source.load_instances(0).masks.shape == (0, 12, 2)
    assert CocoSource(*files, keep_empty=False).image_ids == [2]


def test_objects_without_a_pixel_are_left_out(tmp_path):
    speck = [[4.1, 4.1, 4.2, 4.1, 4.2, 4.2]]
    files = write_coco(tmp_path, annotations=[annotation_entry(1, segmentation=speck), annotation_entry(2)])
    assert CocoSource(*files).load_instances(0).boxes.tolist() == [[2, 2, 6, 6]]


def test_sizes_that_the_file_does_not_tell_are_read_from_the_images(tmp_path):
    files = write_coco(tmp_path, annotations=[annotation_entry(1)])
    content = json.loads(files[1].read_text())
    del content["images"][0]["height"], content["images"][0]["width"]
    files[1].write_text(json.dumps(content))
    assert CocoSource(*files, check=False).sizes == [(12, 16)]


def test_images_of_other_types(tmp_path):
    folder, path = write_coco(tmp_path, [image_entry(1), image_entry(2)], files=False)
    Image.fromarray(np.full((12, 16), 40000, np.uint16)).save(folder / "im1.png")
    Image.fromarray(np.full((12, 16), 7, np.uint8)).save(folder / "im2.png")
    source = CocoSource(folder, path, channels=None)
    assert (source.dtype, source.channels, source.input_range) == ("float32", 1, (0, 65535))
    images, _ = next(iter(from_coco(folder, path, 2, channels=None)))
    assert images.dtype.name == "float32"
    assert images.numpy()[:, 0, 0, 0].tolist() == [40000, 7]
    # Grey images become RGB, and an uint8 source says so of a file that is not.
    folder, path = write_coco(tmp_path, [image_entry(2), image_entry(1)], files=False)
    assert CocoSource(folder, path).load(0)[0].shape == (12, 16, 3)
    with pytest.raises(Exception, match=r"im1.png is uint16, but the source says that its images are uint8"):
        list(from_coco(folder, path, 1, check=False))


def test_subset(tmp_path):
    files = write_coco(tmp_path, [image_entry(4), image_entry(5), image_entry(6, 20)], [annotation_entry(1, image=6)])
    source = CocoSource(*files)
    part = InstanceSubset(source, [2, 0])
    assert (part.image_ids, part.names, part.sizes) == ([6, 4], ["im6.png", "im4.png"], [(20, 16), (12, 16)])
    assert part.counts == [1, 0]
    assert part.class_names == ["cat", "dog"]
    assert len(part.load(0)[1]) == 1
    with pytest.raises(DataError, match=r"indices must lie in 0..2, got 3"):
        InstanceSubset(source, [3])


def test_check_coco(tmp_path):
    images = [image_entry(1), image_entry(2, 30, 20), image_entry(3)]
    annotations = [annotation_entry(1), annotation_entry(2, iscrowd=1), annotation_entry(3, image=3)]
    folder, path = write_coco(tmp_path, images, annotations)
    report = check_coco(folder, path)
    assert report.ok
    assert str(report).splitlines() == [
        "images: 3, 1 of them without an object",
        "size (height x width): 12x16 to 30x20",
        "objects: 3, at most 2 per image, 1 of them crowds",
        "  class 0 cat: 3",
        "  class 1 dog: 0",
        "warning: categories without an annotation: dog",
    ]
    broken = folder / "im2.png"
    broken.write_bytes(broken.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"1 problem in the data:\n- .*im2.png cannot be read"):
        check_coco(folder, path)
    assert not check_coco(folder, path, strict=False).ok


def test_arguments(tmp_path):
    files = write_coco(tmp_path, annotations=[annotation_entry(1, segmentation=SQUARE)])
    with pytest.raises(ValueError, match="on_bad must be 'error' or 'skip', got 'warn'"):
        CocoSource(*files, on_bad="warn")
    with pytest.raises(TypeError, match="boxes_as_masks must be True or False, got 1"):
        CocoSource(*files, boxes_as_masks=1)
    with pytest.raises(TypeError, match=r"channels must be an integer of at least 1, or None, got 'RGB'"):
        CocoSource(*files, channels="RGB")


def test_open_coco(tmp_path):
    with pytest.raises(DataError, match=r"no such data folder: .*none"):
        open_coco(tmp_path / "none")
    with pytest.raises(DataError, match=r"has neither images/ and instances.json, nor .*\. It holds: nothing"):
        open_coco(tmp_path)
    write_coco(tmp_path, [image_entry(number) for number in range(10)])
    train, val = open_coco(tmp_path, seed=4)
    assert (len(train), len(val)) == (8, 2)
    assert sorted(train.image_ids + val.image_ids) == list(range(10))
    assert val.image_ids == open_coco(tmp_path, seed=4)[1].image_ids
    assert len({tuple(open_coco(tmp_path, seed=seed, val_count=3)[1].image_ids) for seed in range(6)}) > 1
    with pytest.raises(
        DataError, match="holds 10 images, which cannot be split into 10 for validation and 0 for train"
    ):
        open_coco(tmp_path, val_count=10)


def test_open_coco_in_halves(tmp_path):
    for name, count in (("train", 3), ("val", 1)):
        (tmp_path / name).mkdir()
        write_coco(tmp_path / name, [image_entry(number) for number in range(count)])
    train, val = open_coco(tmp_path, categories=["dog"])
    assert (len(train), len(val), train.class_names, val.class_names) == (3, 1, ["dog"], ["dog"])
    write_coco(tmp_path / "val", categories=((3, "cat"),))
    text = (
        r"train/instances.json has the categories 3 'cat', 7 'dog', but .*val/instances.json has 3 'cat': pass categor"
    )
    with pytest.raises(DataError, match=text):
        open_coco(tmp_path)


def test_open_coco_as_published(tmp_path):
    (tmp_path / "annotations").mkdir()
    for name, count in (("train2017", 2), ("val2017", 1)):
        folder, path = write_coco(tmp_path, [image_entry(number) for number in range(count)])
        folder.rename(tmp_path / name)
        path.rename(tmp_path / "annotations" / f"instances_{name}.json")
    assert [len(source) for source in open_coco(tmp_path)] == [2, 1]
