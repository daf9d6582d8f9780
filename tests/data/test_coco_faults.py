"""What is wrong with a COCO data set is said, with the file, the annotation and the fix."""

from __future__ import annotations

import itertools
import json
import warnings

import numpy as np
import pytest
from PIL import Image

from kseg.data import CocoSource, DataError, check_coco, from_coco
from tests.helpers.coco_files import SQUARE, annotation_entry, image_entry, write_coco

# Name of a fault: the bad annotation (its id is 5), and what is said of it.
BAD_ANNOTATIONS = {
    "unlisted category": (
        annotation_entry(5, category=4),
        r"annotations of a category that is not listed \(1\): annotation 5 of im1.png \(category_id 4\). Add it to",
    ),
    "unknown image": (
        annotation_entry(5, image=8),
        r"annotations of an image that is not listed \(1\): annotation 5 \(image_id 8\). Add the image, or remove",
    ),
    "same id": (
        annotation_entry(1, segmentation=[[1, 1, 9, 1, 9, 9]]),
        r"annotations whose id another one has \(1\): annotation 1 of im1.png. Are files merged, or objects there twi",
    ),
    "odd": (
        annotation_entry(5, segmentation=[[1, 1, 9, 1, 9, 9, 4]]),
        r"annotations with an odd number of coordinates \(1\): annotation 5 of im1.png \(7 coordinates\). A polygon is",
    ),
    "box for a polygon": (
        annotation_entry(5, segmentation=[[1, 1, 4, 4]]),
        r"with a polygon of fewer than three points \(1\): annotation 5 of im1.png \(four numbers, is it a box\?\)",
    ),
    "two points in a part": (
        annotation_entry(5, segmentation=[*SQUARE, [1, 1]]),
        r"with a polygon of fewer than three points \(1\): annotation 5 of im1.png \(2 coordinates\)",
    ),
    "NaN": (
        annotation_entry(5, segmentation=[[1, 1, 4, float("nan"), 3, 3]]),
        r"coordinates that are NaN, infinite or beyond all images \(1\): annotation 5 of im1.png \(nan\)",
    ),
    "infinite box": (
        annotation_entry(5, bbox=[0, 0, float("inf"), 4]),
        r"coordinates that are NaN, infinite or beyond all images \(1\): annotation 5 of im1.png \(inf\)",
    ),
    "polygon outside": (
        annotation_entry(5, segmentation=[[16, 1, 20, 1, 20, 4]]),
        r"that lie outside their image \(1\): annotation 5 of im1.png \(polygons x 16 to 20, y 1 to 4, image 12x16 \(h",
    ),
    "box outside": (
        annotation_entry(5, bbox=[3, 12, 4, 4]),
        r"that lie outside their image \(1\): annotation 5 of im1.png \(bbox x 3 to 7, y 12 to 16, image 12x16 "
        r"\(height x width\)\). Is it the right image, and are boxes x, y, width, height in pixels\?",
    ),
    "box of two corners": (
        annotation_entry(5, bbox=[8, 8, -4, 4]),
        r"bbox is not four numbers, the last two at least 0 \(1\): annotation 5 of im1.png \(\[8, 8, -4, 4\]\). It is",
    ),
    "box of three": (
        annotation_entry(5, bbox=[3, 3, 4]),
        r"bbox is not four numbers, the last two at least 0 \(1\): annotation 5 of im1.png \(\[3, 3, 4\]\). It",
    ),
    "flat polygon": (
        annotation_entry(5, segmentation=[2, 2, 6, 2, 6, 6]),
        r"neither polygons nor RLE \(1\): annotation 5 of im1.png \(2\). Polygons are lists of numbers in a list",
    ),
    "points in pairs": (
        annotation_entry(5, segmentation=[[[2, 2], [6, 2], [6, 6]]]),
        r"neither polygons nor RLE \(1\): annotation 5 of im1.png \(\[\[2, 2\], \[6, 2\], \[6, 6\]\]\)",
    ),
    "text in a polygon": (
        annotation_entry(5, segmentation=[["2", "2", "6", "2", "6", "6"]]),
        r"neither polygons nor RLE \(1\): annotation 5 of im1.png",
    ),
    "text": (
        annotation_entry(5, segmentation="none"),
        r"neither polygons nor RLE \(1\): annotation 5 of .* \('none'\)",
    ),
    "a dict that is no RLE": (
        annotation_entry(5, segmentation={"counts": [1]}),
        r"neither polygons nor RLE \(1\): annotation 5 of im1.png \(a dict of 'counts'\)",
    ),
    "no segmentation": (
        annotation_entry(5, segmentation=None, bbox=[1, 1, 2, 2]),
        r"annotations without a segmentation \(1\): annotation 5 of im1.png. Pass boxes_as_masks=True .--model faster-",
    ),
    "counts that do not sum": (
        annotation_entry(5, segmentation={"size": [12, 16], "counts": [100, 50]}),
        r"RLE does not fit their image \(1\): annotation 5 of im1.png \(counts must sum to height \* width = 192, got",
    ),
    "compressed counts that do not sum": (
        annotation_entry(5, segmentation={"size": [12, 16], "counts": "22"}),
        r"RLE does not fit their image \(1\): annotation 5 of im1.png \(counts must sum to height \* width = 192",
    ),
    "illegal counts": (
        annotation_entry(5, segmentation={"size": [12, 16], "counts": "2~"}),
        r"RLE does not fit their image \(1\): annotation 5 of im1.png \(counts must consist of the characters",
    ),
    "RLE of another size": (
        annotation_entry(5, segmentation={"size": [16, 12], "counts": [192]}),
        r"RLE does not fit their image \(1\): annotation 5 of im1.png \(size \[16, 12\], image \[12, 16\], turned\)\.",
    ),
    "category missing": (
        {key: value for key, value in annotation_entry(5).items() if key != "category_id"},
        r"annotations without an integer id, image_id or category_id, or iscrowd 0 or 1 \(1\): annot.*'id': 5",
    ),
    "strange crowd": (annotation_entry(5, iscrowd=2), r"or iscrowd 0 or 1 \(1\): annotations\[1\] .*'iscrowd': 2"),
}


@pytest.mark.parametrize(("bad", "text"), BAD_ANNOTATIONS.values(), ids=BAD_ANNOTATIONS)
def test_bad_annotation(tmp_path, bad, text):
    files = write_coco(tmp_path, annotations=[annotation_entry(1), bad])
    with pytest.raises(
        DataError, match=rf"instances.json has\n- .*{text}(.|\n)*on_bad='skip' .--on-bad skip. to leave"
    ) as caught:
        from_coco(*files)
    assert str(caught.value).count("\n- ") == 1
    assert len(check_coco(*files, strict=False).problems) == 1
    with pytest.warns(UserWarning, match=rf"instances.json: left out: .*{text}"):
        source = CocoSource(*files, on_bad="skip")
    assert source.counts == [1]
    assert source.load_instances(0).boxes.tolist() == [[2, 2, 6, 6]]


def test_several_are_counted_and_the_first_are_named(tmp_path):
    odd = [annotation_entry(number, segmentation=[[1, 1, 2, 2, 3]]) for number in range(20, 28)]
    files = write_coco(tmp_path, annotations=[*odd, annotation_entry(2, category=1)])
    with pytest.raises(DataError) as caught:
        CocoSource(*files)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("- annotations with an odd number of coordinates (8): annotation 20 of im1.png (5 coo")
    assert "annotation 24 of im1.png (5 coordinates) and 3 more. A polygon is x and y in turn" in lines[1]
    assert lines[2].startswith("- annotations of a category that is not listed (1)")


@pytest.mark.parametrize("segmentation", [[[1, 1, 5, 5, 9, 9]], [[3, 3, 3, 3, 3, 3]], [[0.1, 0.3, 0.2, 0.6, 0.3, 0.9]]])
def test_points_and_lines_are_left_out_with_a_warning(tmp_path, segmentation):
    files = write_coco(tmp_path, annotations=[annotation_entry(1), annotation_entry(2, segmentation=segmentation)])
    with pytest.warns(
        UserWarning, match=r"polygons without area, which are left out \(1\): annotation 2 of im1.png. They"
    ):
        source = CocoSource(*files)
    assert source.counts == [1]


def test_empty_rle_is_left_out_with_a_warning(tmp_path):
    size = [image_entry(1)[side] for side in ("height", "width")]
    empty = annotation_entry(2, segmentation={"size": size, "counts": [size[0] * size[1]]})
    files = write_coco(tmp_path, annotations=[annotation_entry(1), empty])
    with pytest.warns(
        UserWarning, match=r"RLE masks without a pixel, which are left out \(1\): annotation 2 of im1.png"
    ):
        source = CocoSource(*files)
    assert source.counts == [1]


def test_of_several_parts_only_the_line_is_left_out(tmp_path):
    files = write_coco(tmp_path, annotations=[annotation_entry(1, segmentation=[[1, 1, 5, 5, 9, 9], *SQUARE])])
    with pytest.warns(UserWarning, match=r"polygons without area, which are left out \(1\)"):
        source = CocoSource(*files)
    assert source.load_instances(0).boxes.tolist() == [[2, 2, 6, 6]]


def test_a_bow_tie_has_an_area(tmp_path):
    # Its signed area is 0, and still it covers pixels.
    bow_tie = [[2, 2, 10, 10, 10, 2, 2, 10]]
    source = CocoSource(*write_coco(tmp_path, annotations=[annotation_entry(1, segmentation=bow_tie)]))
    assert source.load_instances(0).areas()[0] > 20


def test_what_reaches_beyond_the_image_is_cut_off_with_a_warning(tmp_path):
    beyond = [[10, 2, 18, 2, 18, 6, 10, 6]]
    within_a_pixel = [[10, 2, 16.9, 2, 16.9, 6, 10, 6]]
    files = write_coco(tmp_path, annotations=[annotation_entry(1, segmentation=within_a_pixel)])
    assert CocoSource(*files).load_instances(0).boxes.tolist() == [[10, 2, 16, 6]]
    files = write_coco(tmp_path, annotations=[annotation_entry(1, segmentation=beyond)])
    text = (
        r"annotations that reach beyond their image by more than a pixel \(1\): annotation 1 of im1.png \(polygons "
        r"x 10 to 18, y 2 to 6, image 12x16 \(height x width\)\). They are cut off at its edge"
    )
    with pytest.warns(UserWarning, match=text):
        source = CocoSource(*files)
    assert source.load_instances(0).boxes.tolist() == [[10, 2, 16, 6]]
    assert check_coco(*files).warnings[0].startswith("annotations that reach beyond")


def skipped(files, text):
    """Two images, of which one is bad: an error that says `text`, or a warning and the other image."""
    with pytest.raises(DataError, match=text):
        CocoSource(*files)
    with pytest.warns(UserWarning, match=f"left out: .*{text}"):
        source = CocoSource(*files, on_bad="skip")
    assert source.image_ids == [1]
    return source


TWO = [annotation_entry(1), annotation_entry(2, image=2)]


def test_missing_file(tmp_path):
    folder, path = write_coco(tmp_path, [image_entry(1), image_entry(2)], TWO)
    (folder / "im2.png").unlink()
    skipped(
        (folder, path), r"images whose file does not exist \(1\): .*im2.png. images_dir must be the folder that file"
    )
    with pytest.raises(Exception, match=r"im2.png: no such file"):
        list(from_coco(folder, path, 1, check=False))


def test_unreadable_file(tmp_path):
    folder, path = write_coco(tmp_path, [image_entry(1), image_entry(2)], TWO)
    (folder / "im2.png").write_text("a text")
    skipped((folder, path), r"images that cannot be read \(1\): .*im2.png cannot be read: .* Replace the files")


def test_file_of_another_size(tmp_path):
    folder, path = write_coco(tmp_path, [image_entry(1), image_entry(2)], TWO)
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(folder / "im2.png")
    skipped(
        (folder, path),
        r"images whose file has another size \(height x width\) than the annotations say \(1\): im2.png is 24x32, "
        r"according to the annotations 12x16. The masks would lie beside their objects",
    )
    with pytest.raises(
        Exception, match=r"im2.png is 24x32, according to the annotations 12x16: take the images that were"
    ):
        list(from_coco(folder, path, 1, check=False))


def test_file_that_is_turned(tmp_path):
    folder, path = write_coco(tmp_path, [image_entry(1), image_entry(2, file_name="im2.jpg")], TWO)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(folder / "im2.jpg", exif=exif)
    text = (
        r"im2.jpg is 16x12, according to the annotations 12x16, turned: annotated without the file's EXIF orientation\?"
    )
    skipped((folder, path), text)


def test_duplicate_image_id(tmp_path):
    images = [image_entry(1), image_entry(2), image_entry(2, file_name="other.png")]
    text = r"ids of several images \(1\): 2 \(im2.png, other.png\). Give every image an id of its own"
    source = skipped(write_coco(tmp_path, images, TWO), text)
    assert source.counts == [1]


def test_bad_image_entry(tmp_path):
    folder, path = write_coco(tmp_path, [image_entry(1), image_entry(2)], TWO)
    content = json.loads(path.read_text())
    for change in ({"height": 12.5}, {"width": 0}, {"file_name": None}):
        content["images"][1] = image_entry(2, **change)
        path.write_text(json.dumps(content))
        skipped(
            (folder, path), r"images without an integer id, a file_name, or whole and positive height and width \(1\)"
        )


def test_nothing_left(tmp_path):
    folder, path = write_coco(tmp_path, annotations=[annotation_entry(1)], files=False)
    with pytest.warns(UserWarning, match="does not exist"), pytest.raises(DataError, match=r"json has no image left"):
        CocoSource(folder, path, on_bad="skip")


def test_no_objects_and_empty_images_not_wanted(tmp_path):
    with pytest.raises(DataError, match=r"it lists 1 good ones, none of which has an object: pass keep_empty=True to"):
        CocoSource(*write_coco(tmp_path, annotations=[]), keep_empty=False)


NOT_COCO = {
    "": r"instances.json is not JSON: Expecting value in line 1, column 1",
    '{"images": [}': r"instances.json is not JSON: Expecting value in line 1, column 13",
    "[" * 100_000: r"instances.json is no annotation file: its lists are nested too deeply, expected a dict with",
    "{}": r"has no 'images', expected a dict .*It has nothing",
    "[]": r"instances.json holds a list, expected annotations: a dict with the lists 'images', 'annotations' and",
    '[{"image_id": 1, "score": 0.5}]': r"holds detections \(COCO's result format\), expected annotations",
    '{"images": [], "labels": []}': r"has no 'annotations', expected a dict .*It has 'images', 'labels'",
    '{"images": [], "annotations": {}, "categories": []}': r"has 'annotations' that are no list of dicts, expected",
    '{"images": [], "annotations": [], "categories": []}': r"lists no categories: add one per class of objects",
    '{"images": [], "annotations": [], "categories": [{"id": "1", "name": "a"}]}': (
        r"has a category without an integer id and a name: {'id': '1', 'name': 'a'}"
    ),
    '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}': (
        r"lists the category ids 1 more than once: give each an id of its own"
    ),
    '{"images": [], "annotations": [{"segments_info": []}], "categories": []}': (
        r"holds panoptic annotations, whose masks are in PNG files: take the 'instances' file of the set"
    ),
}


@pytest.mark.parametrize(("content", "text"), NOT_COCO.items(), ids=range(len(NOT_COCO)))
def test_not_coco(tmp_path, content, text):
    path = tmp_path / "instances.json"
    path.write_text(content)
    with pytest.raises(DataError, match=text):
        CocoSource(tmp_path, path, on_bad="skip")


def test_no_such_files(tmp_path):
    folder, path = write_coco(tmp_path)
    with pytest.raises(DataError, match=r"annotations_json .*none.json does not exist"):
        CocoSource(folder, tmp_path / "none.json")
    with pytest.raises(DataError, match=r"annotations_json .*images is not a file"):
        CocoSource(folder, folder)
    with pytest.raises(DataError, match=r"images_dir .*none does not exist"):
        CocoSource(tmp_path / "none", path)
    with pytest.raises(DataError, match=r"images_dir .*instances.json is not a folder"):
        CocoSource(path, path)


def test_good_data_give_no_warning(tmp_path):
    files = write_coco(
        tmp_path, annotations=[annotation_entry(1, bbox=[2, 2, 4, 4]), annotation_entry(2, bbox=[0, 0, 0, 0])]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CocoSource(*files).counts == [2]


JUNK = [
    None,
    True,
    -1,
    1.5,
    float("nan"),
    10**400,
    2**63,
    "",
    "/",
    [],
    {},
    [[]],
    [1],
    ["a"],
    {"a": 1},
    [[1, 2, [3], 4]],
]


def positions(value, path=()):
    """The paths to all parts of a JSON value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in entries:
        yield (*path, key)
        yield from positions(part, (*path, key))


@pytest.mark.filterwarnings("ignore:.*instances.json:UserWarning")
def test_whatever_a_part_is_replaced_by_is_read_or_is_a_data_error(tmp_path):
    annotations = [
        annotation_entry(1, bbox=[2, 2, 4, 4]),
        annotation_entry(2, segmentation={"size": [12, 16], "counts": [100, 92]}),
    ]
    folder, path = write_coco(tmp_path, [image_entry(1), image_entry(2)], annotations)
    good = path.read_text()
    parts = list(positions(json.loads(good)))
    read = refused = 0
    for part, junk in itertools.product(parts, JUNK):
        content = json.loads(good)
        holder = content
        for key in part[:-1]:
            holder = holder[key]
        holder[part[-1]] = junk
        path.write_text(json.dumps(content))
        try:
            source = CocoSource(folder, path, on_bad="skip")
            for index in range(len(source)):
                source.load(index)
            read += 1
        except DataError:
            refused += 1
    assert read > 100
    assert refused > 100
