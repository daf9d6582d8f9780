"""Published data sets: small trees in their layouts, and what goes wrong with them."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from kseg import data
from kseg.data import DataError, from_folder
from tests.helpers.layout_trees import (
    SIZE,
    ade20k,
    camvid,
    cityscapes,
    coco_stuff,
    image,
    mask,
    original_camvid,
    voc,
)
from tests.helpers.shared_data import shared_data


def stored(source, index=0, count=None):
    """The first labels of a mask, as the source gives them."""
    return source.load(index)[1].ravel()[:count].tolist()


CASES = {
    "cityscapes": (cityscapes, data.CityscapesSource, data.from_cityscapes, 19),
    "voc": (voc, data.VOCSource, data.from_voc, 21),
    "ade20k": (ade20k, data.ADE20KSource, data.from_ade20k, 150),
    "camvid": (camvid, data.CamVidSource, data.from_camvid, 11),
    "original_camvid": (original_camvid, data.CamVidSource, data.from_camvid, 11),
    "coco_stuff": (coco_stuff, data.COCOStuffSource, data.from_coco_stuff, 171),
}


@pytest.mark.parametrize("case", CASES)
def test_batches_of_every_layout(case, tmp_path):
    tree, source, function, classes = CASES[case]
    tree(tmp_path)
    opened = source(tmp_path)
    assert (opened.num_classes, opened.ignore_index, opened.channels) == (classes, 255, 3)
    assert opened.input_range == (0, 255)
    assert tuple(opened.class_names) == opened.classes.names
    batches = list(function(tmp_path, 2, check=True, seed=3))
    assert sum(len(labels) for _, labels in batches) == len(opened)
    images, labels = batches[0]
    assert images.shape == (2, *SIZE, 3)
    np.testing.assert_array_equal(labels[1], opened.load(1)[1])
    assert len(list(function(tmp_path, 1, split="val", crop_size=4))) == 1


def test_cityscapes_ids(tmp_path):
    root = cityscapes(tmp_path)
    source = data.CityscapesSource(root)
    assert source.names == ["aachen_000000_000019_leftImg8bit", "bochum_000001_000019_leftImg8bit"]
    # By hand, from the benchmark's table: which of the 34 ids are classes.
    void = 255
    by_id = [void] * 7 + [0, 1, void, void, 2, 3, 4, void, void, void, 5, void, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    by_id += [void, void, 16, 17, 18]
    assert stored(source, 0, 34) == by_id
    assert set(stored(source, 1)) == {0, 255}  # 255 is -1 in eight bits, the licence plates
    assert stored(data.CityscapesSource(root, "val"), 0, 3) == [13, 18, 255]


def test_cityscapes_train_ids_and_coarse(tmp_path):
    root = cityscapes(tmp_path)
    mask(root / "gtFine/val/lindau/lindau_000000_000019_gtFine_labelTrainIds.png", [0, 18, 255])
    assert stored(data.CityscapesSource(root, "val", labels="labelTrainIds"), 0, 3) == [0, 18, 255]
    name = "augsburg_000000_000000"
    image(root / "leftImg8bit/train_extra/augsburg" / f"{name}_leftImg8bit.png")
    mask(root / "gtCoarse/train_extra/augsburg" / f"{name}_gtCoarse_labelIds.png", [8])
    assert set(stored(data.CityscapesSource(root, "train_extra", coarse=True))) == {1}
    with pytest.raises(
        DataError, match=r"(?s)no png/.* file whose stem ends in '_gtFine_labelTrainIds'.*makes them.*labels='labelIds'"
    ):
        data.CityscapesSource(root, labels="labelTrainIds")
    with pytest.raises(
        ValueError, match="split must be one of 'train', 'val', 'test' for Cityscapes with coarse=False"
    ):
        data.CityscapesSource(root, "train_extra")
    with pytest.raises(
        ValueError, match="labels must be one of 'labelIds', 'labelTrainIds' for Cityscapes, got 'color'"
    ):
        data.CityscapesSource(root, labels="color")
    with pytest.raises(TypeError, match="coarse must be True or False, got 1"):
        data.CityscapesSource(root, coarse=1)


def test_voc_lists(tmp_path):
    root = voc(tmp_path / "VOCdevkit" / "VOC2012")
    for place in (tmp_path, tmp_path / "VOCdevkit", root):
        assert data.VOCSource(place).names == ["2007_000039", "2007_000032"]  # in the order of the list
    assert stored(data.VOCSource(root), 1, 4) == [0, 1, 20, 255]
    own = tmp_path / "mine.txt"
    own.write_text("2007_000042\r\n2007_000032\r\n")
    assert data.VOCSource(root, own).names == ["2007_000042", "2007_000032"]


def test_voc_augmented_lists(tmp_path):
    root = voc(tmp_path)
    image(root / "JPEGImages" / "2008_000002.jpg")
    mask(root / "SegmentationClassAug" / "2008_000002.png", [20, 255])
    lists = root / "ImageSets" / "Segmentation"
    (lists / "trainaug.txt").write_text("2008_000002\n")
    (lists / "paths.txt").write_text("/JPEGImages/2008_000002.jpg /SegmentationClassAug/2008_000002.png\n")
    assert set(stored(data.VOCSource(root, "trainaug", masks="SegmentationClassAug"))) == {20, 255}
    assert set(stored(data.VOCSource(root, "paths"))) == {20, 255}
    with pytest.raises(
        DataError, match=r"1 of 1 masks that .*trainaug\.txt names are missing: .*2008_000002\.png\. .*pass masks="
    ):
        data.VOCSource(root, "trainaug")
    (lists / "aeroplane.txt").write_text("2008_000002 -1\n")
    with pytest.raises(DataError, match=r"aeroplane\.txt holds the line '2008_000002 -1': expected an image name, or"):
        data.VOCSource(root, "aeroplane")
    (lists / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match=r"empty\.txt is empty: it must hold one image name per line"):
        data.VOCSource(root, "empty")


def test_ade20k_reduces_the_zero_label(tmp_path):
    root = ade20k(tmp_path)
    assert stored(data.ADE20KSource(root), 0, 3) == [255, 0, 149]
    assert data.ADE20KSource(root, "val").class_names[stored(data.ADE20KSource(root, "val"))[0]] == "person"


def test_camvid_numbers_and_colours(tmp_path):
    assert stored(data.CamVidSource(camvid(tmp_path / "a")), 0, 12) == [*range(11), 255]
    root = original_camvid(tmp_path / "b")
    source = data.CamVidSource(root)
    # Sky, a bridge (building), a lane marking (road), void, a motorcycle (bicyclist).
    assert stored(source, 0, 5) == [0, 1, 3, 255, 10]
    assert source.names == ["0001TP_006690", "0006R0_f00930", "0016E5_07920", "0016E5_08190"]
    assert data.CamVidSource(root, "val").names == ["0016E5_07959"]
    assert data.CamVidSource(root, "test").names == ["0001TP_008550", "Seq05VD_f00000"]


def test_coco_stuff_closes_the_gaps(tmp_path):
    root = coco_stuff(tmp_path)
    # Ids 12, 26, 29, 30, 45, 66, 68, 69, 71, 83 and 91 were never annotated: 13 - 1 becomes 11, 182 - 1 becomes 170.
    assert stored(data.COCOStuffSource(root), 0, 5) == [0, 10, 11, 170, 255]
    assert set(stored(data.COCOStuffSource(root), 1)) == {80}
    kept = data.COCOStuffSource(root, keep_ids=True)
    assert kept.num_classes == 182
    assert stored(kept, 0, 5) == [0, 10, 12, 181, 255]
    assert kept.class_names[91] == data.COCO_STUFF.names[80] == "banner"
    shutil.move(root / "val2017", root / "images" / "val2017")
    shutil.move(root / "stuffthingmaps_trainval2017" / "val2017", root / "annotations" / "val2017")
    assert set(stored(data.COCOStuffSource(root, "val"))) == {2}


# Class tables


def test_class_tables():
    counts = {"CITYSCAPES": 19, "VOC": 21, "ADE20K": 150, "CAMVID": 11, "COCO_STUFF": 171, "COCO_STUFF_182": 182}
    for name, count in counts.items():
        table = getattr(data, name)
        assert len(table) == len(table.names) == len(table.palette) == len(set(table.names)) == count
        assert all(name == name.strip() and name for name in table.names)
        # Road and skyscraper of ADE20K do have one colour.
        assert len(set(table.palette)) == count - (name == "ADE20K")
    assert data.CITYSCAPES.palette[13] == (0, 0, 142)
    assert data.VOC.palette[20] == (0, 64, 128)
    assert (data.ADE20K.names[149], data.ADE20K.palette[149]) == ("flag", (92, 0, 255))
    assert data.COCO_STUFF.names[79:81] == ("toothbrush", "banner")
    assert not any("(" in name for name in data.COCO_STUFF_182.names)


def test_colours_of_a_class_map():
    picture = data.VOC.colours(np.array([[1, 255], [-1, 0]]), void=(224, 224, 192))
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[[128, 0, 0], [224, 224, 192]], [[224, 224, 192], [0, 0, 0]]]
    with pytest.raises(ValueError, match="palette must hold 2 colours, one per name, got 1"):
        data.ClassTable(("a", "b"), ((0, 0, 0),))


# Broken trees: what breaks it, and the message. Every message names a file or folder, and what to do.


def _colours_in_place_of_indices(root):
    mask(root / "SegmentationClass" / "2007_000032.png", [[128, 0, 0], [0, 0, 0]])


def _grey_levels_of_colours(root):
    Image.open(path := root / "SegmentationClass" / "2007_000032.png").convert("L").save(path)


BROKEN = [
    (
        "cityscapes",
        lambda root: (root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png").unlink(),
        r"1 of 2 images have no mask named .*_gtFine_labelIds\.png .*: aachen_.*\.png\n.*gtFine_trainvaltest\.zip",
    ),
    (
        "cityscapes",
        lambda root: shutil.rmtree(root / "gtFine"),
        "is not laid out as Cityscapes: it has no gtFine/train. Pass",
    ),
    (
        "cityscapes",
        lambda root: mask(root / "gtFine/train/bochum/bochum_000001_000019_gtFine_labelIds.png", [34, 77]),
        r"bochum_.*_labelIds\.png holds 34, 77, expected Cityscapes label ids, 0\.\.33 .* as it was published",
    ),
    (
        "voc",
        lambda root: (root / "ImageSets/Segmentation/train.txt").unlink(),
        r"no such split list: .*train\.txt\. Lists in .*: 'val'\. Pass one of them as split",
    ),
    (
        "voc",
        lambda root: (root / "SegmentationClass/2007_000032.png").unlink(),
        r"1 of 2 masks that .*train\.txt names are missing: .*2007_000032\.png",
    ),
    (
        "voc",
        lambda root: (root / "JPEGImages/2007_000032.jpg").unlink(),
        r"1 of 2 images that .*train\.txt names are missing: .*2007_000032\.jpg",
    ),
    (
        "voc",
        _colours_in_place_of_indices,
        r"mask .*2007_000032\.png has 3 channels, expected VOC class numbers .* palette indices.*as it was published",
    ),
    (
        "voc",
        _grey_levels_of_colours,
        r"mask .*2007_000032\.png holds 38.* expected VOC class numbers .*as it was published: viewers and converters",
    ),
    (
        "ade20k",
        lambda root: mask(root / "annotations/training/ADE_train_00000002.png", [151]),
        r"ADE_train_00000002\.png holds 151, expected ADE20K numbers in one channel, 0 \(void\) to 150",
    ),
    (
        "ade20k",
        lambda root: (root / "annotations/training/ADE_train_00000002.png").unlink(),
        r"1 of 2 images have no mask named <image stem>\.png .*annotations/training: ADE_train_00000002\.jpg",
    ),
    (
        "ade20k",
        lambda root: (root / "images/training/ADE_train_00000002.jpg").unlink(),
        r"1 of 2 masks have no image in .*images/training: ADE_train_00000002\.png",
    ),
    (
        "camvid",
        lambda root: mask(root / "trainannot/0001TP_006690.png", [12]),
        r"0001TP_006690\.png holds 12, expected CamVid class numbers in one channel, 0\.\.10, and 11 for void",
    ),
    (
        "camvid",
        lambda root: shutil.rmtree(root / "trainannot"),
        r"is not laid out as CamVid: expected train and trainannot .* It holds: train, val, valannot\. .*from_folder",
    ),
    (
        "original_camvid",
        lambda root: mask(root / "LabeledApproved_full/0006R0_f00930_L.png", [[1, 2, 3]]),
        r"0006R0_f00930_L\.png holds \(1, 2, 3\), expected the 32 colours of CamVid",
    ),
    (
        "original_camvid",
        lambda root: mask(root / "LabeledApproved_full/0006R0_f00930_L.png", [3]),
        r"0006R0_f00930_L\.png has one channel, expected the 32 colours of CamVid",
    ),
    (
        "original_camvid",
        lambda root: [
            image(root / "701_StillsRaw_full/photo.png"),
            mask(root / "LabeledApproved_full/photo_L.png", [[0, 0, 0]]),
        ],
        r"photo\.png is none of the frames of 701_StillsRaw_full, whose names are such as .*: move it elsewhere",
    ),
    (
        "coco_stuff",
        lambda root: mask(root / "stuffthingmaps_trainval2017/train2017/000000000009.png", [11]),
        r"000000000009\.png holds 11, expected COCO-Stuff numbers .* without the 11 gaps",
    ),
    (
        "coco_stuff",
        lambda root: shutil.rmtree(root / "stuffthingmaps_trainval2017"),
        r"is not laid out as COCO-Stuff 164k: it has no stuffthingmaps_trainval2017/train2017\. Pass as root",
    ),
    (
        "coco_stuff",
        lambda root: image(root / "train2017/000000000025.jpg", size=(8, 6)),
        r"000000000025\.jpg is 8x6 but its mask .*000000000025\.png is 6x8",
    ),
]


@pytest.mark.parametrize(("case", "spoil", "message"), BROKEN)
def test_broken_trees(case, spoil, message, tmp_path):
    tree, _, function, _ = CASES[case]
    spoil(tree(tmp_path))
    with pytest.raises(DataError, match=message):
        function(tmp_path, 1, check=True)


@pytest.mark.parametrize("case", CASES)
def test_roots_and_splits_that_are_none(case, tmp_path):
    tree, source, function, _ = CASES[case]
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "no"))):
        source(tmp_path / "no")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty is not laid out as .* It holds: nothing"):
        source(tmp_path / "empty")
    with pytest.raises(
        (ValueError, DataError), match=r"split must be one of 'train', .*got 'nope'|no such split list: .*nope"
    ):
        source(tree(tmp_path / "full"), "nope")
    with pytest.raises(TypeError, match="check must be True or False, got 'yes'"):
        function(tmp_path / "full", check="yes")


def test_labels_are_checked_without_check_too(tmp_path):
    root = ade20k(tmp_path)
    mask(root / "annotations/training/ADE_train_00000002.png", [151])
    with pytest.raises(Exception, match=r"ADE_train_00000002\.png holds 151, expected ADE20K numbers"):
        list(data.from_ade20k(root, 2))


def test_camvid_as_folders():
    root = shared_data("camvid", "val")
    values = {**{number: number for number in range(11)}, 11: 255}
    dataset = from_folder(root / "images", root / "masks", 4, num_classes=11, mask_values=values, check=False)
    images, labels = next(iter(dataset))
    assert images.shape == (4, 360, 480, 3)
    assert set(np.unique(labels)) <= {*range(11), 255}
    assert 255 in labels.numpy()
    with pytest.raises(DataError, match=r"is not laid out as CamVid: .*images, masks.*use kseg\.data\.from_folder"):
        data.CamVidSource(root)


def test_split_rule_of_the_original_camvid_is_that_of_the_frames_at_hand():
    from kseg.data.layouts.camvid_source import _split_of

    for split, count in (("train", 367), ("val", 101)):
        stems = [path.stem for path in shared_data("camvid", split, "images").iterdir()]
        assert len(stems) == count
        assert {_split_of(stem) for stem in stems} == {split}
