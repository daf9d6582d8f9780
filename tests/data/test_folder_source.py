"""Pairing files, opening folders, and what goes wrong with them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from kseg.data import DataError, FolderSource, check_folder, from_folder, open_folder
from tests.helpers.data_files import write_folder, write_pair, write_png16
from tests.helpers.shared_data import shared_data


def test_pairs_in_the_order_of_their_stems(tmp_path):
    write_folder(tmp_path, count=11)
    source = FolderSource(tmp_path / "images", tmp_path / "masks")
    assert len(source) == 11
    assert source.names == [f"im{k:02d}" for k in range(11)]
    assert (source.channels, source.num_classes, source.input_range) == (3, 3, (0, 255))
    assert source.sizes == [(12, 16)] * 11
    image, mask = source.load(7)
    assert image.dtype == np.uint8
    assert image.shape == (12, 16, 3)
    assert (image == 7).all()
    assert mask.shape == (12, 16)
    assert np.unique(mask).tolist() == [0, 1, 2]


def test_formats_suffix_and_other_files(tmp_path):
    image, mask = np.full((8, 9, 3), 3, np.uint8), np.ones((8, 9), np.uint8)
    write_pair(tmp_path, "a", image, mask, suffix="_mask")
    Image.fromarray(image).save(tmp_path / "images" / "b.JPG", format="JPEG")
    tifffile.imwrite(tmp_path / "masks" / "b_mask.TIFF", mask)
    (tmp_path / "images" / "notes.txt").write_text("x")
    (tmp_path / "images" / ".hidden.png").write_text("x")
    source = FolderSource(tmp_path / "images", tmp_path / "masks", mask_suffix="_mask")
    assert source.names == ["a", "b"]
    assert source.load(1)[1].sum() == 72


def test_images_and_masks_in_one_folder(tmp_path):
    write_pair(tmp_path, "a", np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8))
    shutil.move(tmp_path / "masks" / "a.png", tmp_path / "images" / "a_mask.png")
    assert FolderSource(tmp_path / "images", tmp_path / "images", mask_suffix="_mask").names == ["a"]
    with pytest.raises(DataError, match=r"are the same folder .*: pass mask_suffix, such as '_mask'"):
        FolderSource(tmp_path / "images", tmp_path / "images")


def test_sixteen_bit_rgb_arrives_whole(tmp_path):
    write_pair(tmp_path, "a", np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8))
    array = np.arange(48, dtype=np.uint16).reshape(4, 4, 3) * 1365
    write_png16(tmp_path / "images" / "a.png", array)
    source = FolderSource(tmp_path / "images", tmp_path / "masks")
    assert source.input_range == (0, 65535)
    np.testing.assert_array_equal(source.load(0)[0], array)
    ((image, _),) = from_folder(tmp_path / "images", tmp_path / "masks", 1)
    np.testing.assert_array_equal(image[0], array)


# --- what goes wrong: the broken folder, and the message
# ---------------------------------------------------------------


def _remove_mask(root):
    (root / "masks" / "im01.png").unlink()
    return r"1 of 6 images have no mask named <image stem>\.png \(or \.tif, \.bmp\) in .*masks: im01\.png"


def _remove_image(root):
    (root / "images" / "im04.png").unlink()
    return r"1 of 6 masks have no image in .*images: im04\.png"


def _duplicate(root):
    shutil.copy(root / "images" / "im00.png", root / "images" / "im00.bmp")
    return r"images_dir: .*im00\.bmp and im00\.png have the same stem: keep one of them"


def _empty(root):
    for path in (root / "images").iterdir():
        path.unlink()
    (root / "images" / "readme.txt").write_text("x")
    return r"images_dir: .*images holds no png/jpg/jpeg/bmp/tif/tiff file \(1 other files\)"


def _missing(root):
    shutil.rmtree(root / "masks")
    return r"masks_dir: no such folder: .*masks"


def _truncated(root):
    path = root / "images" / "im02.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:300])
    return r"im02\.png cannot be read: .*truncated"


def _truncated_mask(root):
    path = root / "masks" / "im02.png"
    path.write_bytes(path.read_bytes()[:45])
    return r"masks.im02\.png cannot be read"


def _sizes(root):
    Image.fromarray(np.zeros((16, 12), np.uint8)).save(root / "masks" / "im03.png")
    return r"im03\.png is 12x16 but its mask .*im03\.png is 16x12 \(height x width\).*They fit when one .* by 90"


def _label(root):
    Image.fromarray(np.full((12, 16), 7, np.uint8)).save(root / "masks" / "im05.png")
    return r"im05\.png holds the label 7, but num_classes=3 allows 0\.\.2 and ignore_index=255: raise num_classes, or"


def _rgb_mask(root):
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(root / "masks" / "im05.png")
    return r"im05\.png has 3 channels, but a mask holds one class number per pixel"


def _channels(root):
    Image.fromarray(np.zeros((12, 16), np.uint8)).save(root / "images" / "im05.png")
    return r"im00\.png has 3 channels and .*im05\.png has 1: pass channels=1 or channels=3"


BREAKS = [
    _remove_mask, _remove_image, _duplicate, _empty, _missing, _truncated, _truncated_mask, _sizes, _label, _rgb_mask,
    _channels
]  # fmt: skip


@pytest.mark.parametrize("broken", BREAKS)
def test_check_folder_names_file_and_problem(tmp_path, broken):
    write_folder(tmp_path)
    message = broken(tmp_path)
    with pytest.raises(DataError, match=f"(?s)problem.* in the data:\n- .*{message}"):
        check_folder(tmp_path / "images", tmp_path / "masks", num_classes=3)
    report = check_folder(tmp_path / "images", tmp_path / "masks", num_classes=3, strict=False)
    assert not report.ok
    assert len(report.problems) == 1
    assert f"problem: {report.problems[0]}" in str(report)
    # Training never starts on it.
    with pytest.raises(DataError, match=f"(?s){message}"):
        from_folder(tmp_path / "images", tmp_path / "masks", 2, num_classes=3)


def _load_all(root):
    source = FolderSource(root / "images", root / "masks", num_classes=3)
    return [source.load(index) for index in range(len(source))]


@pytest.mark.parametrize("broken", BREAKS)
def test_the_source_itself_meets_the_problem_at_the_latest_on_loading(tmp_path, broken):
    write_folder(tmp_path)
    message = broken(tmp_path)
    with pytest.raises(DataError, match=message):
        _load_all(tmp_path)


def test_check_lists_every_problem_at_once(tmp_path):
    write_folder(tmp_path)
    for broken in (_remove_mask, _truncated, _sizes, _label):
        broken(tmp_path)
    report = check_folder(tmp_path / "images", tmp_path / "masks", num_classes=3, strict=False)
    assert len(report.problems) == 4
    with pytest.raises(DataError, match=r"^4 problems in the data:\n- "):
        report.raise_for_problems()


def test_load_error_inside_the_pipeline_keeps_its_text(tmp_path):
    import tensorflow as tf

    write_folder(tmp_path)
    message = _label(tmp_path)
    dataset = from_folder(tmp_path / "images", tmp_path / "masks", 2, num_classes=3, check=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s)DataError: mask .*{message}"):
        list(dataset)


def test_report_counts(tmp_path):
    write_folder(tmp_path, count=4, size=(12, 18))
    mask = np.full((20, 30), 255, np.uint8)
    mask[:10] = 2
    write_pair(tmp_path, "z", np.full((20, 30, 3), 250, np.uint8), mask)
    report = check_folder(tmp_path / "images", tmp_path / "masks")
    assert report.ok
    assert report.count == 5
    assert (report.smallest, report.largest) == ((12, 18), (20, 30))
    assert (report.channels, report.dtypes, report.num_classes) == (3, ["uint8"], 3)
    assert report.value_range == (0, 250)
    # Four masks of three stripes of 6 columns, and 300 + 300 pixels of the last one.
    assert report.class_pixels == [4 * 72, 4 * 72, 4 * 72 + 300]
    assert report.ignored_pixels == 300
    text = str(report)
    assert "size (height x width): 12x18 to 20x30" in text
    assert "class 2:  40.16 % of the pixels" in text


def test_binary_masks_of_0_and_255(tmp_path):
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5] = 255
    write_pair(tmp_path, "a", np.zeros((8, 8), np.uint8), mask)
    folders = tmp_path / "images", tmp_path / "masks"
    with pytest.raises(
        DataError, match=r"hold only 0 and 255, and 255 is not class 1: pass mask_values=\{0: 0, 255: 1\}"
    ):
        FolderSource(*folders)
    with pytest.raises(DataError, match=r"hold only 0 and 255"):
        check_folder(*folders)
    report = check_folder(*folders, num_classes=2)
    assert "hold only 0 and 255" in report.warnings[0]
    with pytest.raises(
        DataError, match=r"holds the label 255, but num_classes=2 .* mask_values=\{0: 0, 255: 1\} for a mask of"
    ):
        check_folder(*folders, num_classes=2, ignore_index=None)
    source = FolderSource(*folders, mask_values={0: 0, 255: 1})
    assert source.num_classes == 2
    assert source.load(0)[1].sum() == 24


def test_num_classes_from_the_masks(tmp_path):
    write_folder(tmp_path, classes=4)
    assert FolderSource(tmp_path / "images", tmp_path / "masks").num_classes == 4
    assert FolderSource(tmp_path / "images", tmp_path / "masks", ignore_index=3).num_classes == 3
    # One logit tells 0 from 1.
    write_folder(tmp_path / "b", classes=2)
    assert len(FolderSource(tmp_path / "b" / "images", tmp_path / "b" / "masks", num_classes=1).load(0)) == 2
    tifffile.imwrite(tmp_path / "masks" / "im00.tif", np.full((12, 16), 700, np.uint16))
    (tmp_path / "masks" / "im00.png").unlink()
    with pytest.raises(
        DataError, match=r"im00\.tif holds the value 700: num_classes is not inferred .*Pass num_classes"
    ):
        FolderSource(tmp_path / "images", tmp_path / "masks")


def test_warnings_about_ranges(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    mask = np.arange(16, dtype=np.uint8).reshape(4, 4) % 2
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    tifffile.imwrite(tmp_path / "images" / "a.tif", np.full((4, 4), 4000, np.uint16))
    folders = tmp_path / "images", tmp_path / "masks"
    assert "16-bit images with values up to 4000 only" in check_folder(*folders).warnings[0]
    assert check_folder(*folders, input_range=(0, 4095)).warnings == []
    tifffile.imwrite(tmp_path / "images" / "a.tif", np.full((4, 4), 12.5, np.float32))
    assert "12.5 to 12.5 leave the input_range (0.0, 1.0): pass input_range=" in check_folder(*folders).warnings[0]
    tifffile.imwrite(tmp_path / "images" / "a.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(DataError, match=r"a\.tif holds values that are not finite"):
        check_folder(*folders)
    assert any("no mask holds class 2" in w for w in check_folder(*folders, num_classes=3, strict=False).warnings)


# --- open_folder
# -------------------------------------------------------------------------------------------------------


def test_split_is_deterministic_and_disjoint(tmp_path):
    write_folder(tmp_path, count=10)
    train, val = open_folder(tmp_path, val_fraction=0.3, seed=4)
    assert len(train) == 7
    assert len(val) == 3
    assert sorted(train.names + val.names) == [f"im{k:02d}" for k in range(10)]
    assert open_folder(tmp_path, val_fraction=0.3, seed=4)[1].names == val.names
    assert len({tuple(open_folder(tmp_path, val_count=3, seed=s)[1].names) for s in range(8)}) > 1
    assert len(open_folder(tmp_path, val_fraction=0.001)[1]) == 1
    assert int(val.names[0][2:]) == val.load(0)[0][0, 0, 0]
    assert val.sizes == [(12, 16)] * 3


def test_train_and_val_folders_and_class_names(tmp_path):
    write_folder(tmp_path / "train", count=3, classes=2)
    write_folder(tmp_path / "val", count=2, classes=4)
    train, val = open_folder(tmp_path)
    assert (len(train), len(val), train.num_classes, val.num_classes) == (3, 2, 4, 4)
    (tmp_path / "classes.txt").write_text("sky\ntree\ncar\nroad\nsign\n")
    train, val = open_folder(tmp_path)
    assert train.num_classes == 5
    assert val.class_names == ["sky", "tree", "car", "road", "sign"]


def test_class_names_that_cannot_be(tmp_path):
    write_folder(tmp_path, count=3)
    (tmp_path / "classes.txt").write_bytes("sky\nB\u00e4ume\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"classes\.txt is not UTF-8 text \(.* at byte 5\): save it as UTF-8"):
        open_folder(tmp_path)
    (tmp_path / "classes.txt").write_text("sky\ntree\nsky\n")
    with pytest.raises(DataError, match=r"classes\.txt must hold different names, got 'sky' more than once"):
        open_folder(tmp_path)
    (tmp_path / "classes.txt").write_bytes("\ufeffsky\ntree\ncar\n".encode())
    assert open_folder(tmp_path)[0].class_names == ["sky", "tree", "car"]


def test_open_folder_errors(tmp_path):
    with pytest.raises(DataError, match=r"no such data folder: .*nowhere"):
        open_folder(tmp_path / "nowhere")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match=r"has neither images/ and masks/ nor train/images.*It holds: pictures"):
        open_folder(tmp_path)
    write_folder(tmp_path, count=3)
    with pytest.raises(
        DataError, match=r"holds 3 pairs, which cannot be split into 3 for validation and 0 for training"
    ):
        open_folder(tmp_path, val_count=3)
    with pytest.raises(DataError, match=r"val_fraction must lie between 0 and 1, got 1.5"):
        open_folder(tmp_path, val_fraction=1.5)
    write_folder(tmp_path / "one", count=1)
    with pytest.raises(DataError, match=r"holds 1 pairs, which cannot be split"):
        open_folder(tmp_path / "one")


# --- real images
# -------------------------------------------------------------------------------------------------------


def test_real_electron_microscopy():
    folder = shared_data("isbi2012")
    train, val = open_folder(folder, val_count=4)
    assert (len(train), len(val), train.num_classes, train.channels) == (20, 4, 2, 1)
    image, mask = next(iter(from_folder(folder / "images", folder / "masks", 2, crop_size=256, shuffle=True)))
    assert image.shape == (2, 256, 256, 1)
    assert mask.shape == (2, 256, 256)


def test_real_street_scenes():
    train, val = open_folder(shared_data("camvid"), ignore_index=11)
    assert (len(train), len(val), train.num_classes, train.channels) == (367, 101, 11, 3)
    assert val.load(0)[0].shape == (360, 480, 3)
