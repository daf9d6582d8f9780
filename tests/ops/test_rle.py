"""kseg_ops.rle: COCO's run-length codecs, against cases worked out by hand and against pycocotools."""

from __future__ import annotations

import doctest
import json

import numpy as np
import pytest

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library, rle
from tests.helpers.shared_data import shared_data

coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is the oracle")

CORE = _library.core()


pytestmark = pytest.mark.usefixtures("rle_form")


def random_mask(random, height, width, kind):
    """Noise of any density, a disc, a rectangle, empty, full."""
    if kind == "noise":
        return (random.random((height, width)) < random.random()).astype(np.uint8)
    if kind == "disc":
        y, x = np.mgrid[:height, :width]
        centre = random.uniform(0, 1, 2) * (height, width)
        return (np.hypot(y - centre[0], x - centre[1]) < random.uniform(0, max(height, width, 1))).astype(np.uint8)
    mask = np.full((height, width), kind == "full", np.uint8)
    if kind == "rectangle" and mask.size:
        top, left = random.integers(0, height), random.integers(0, width)
        mask[top : random.integers(top, height) + 1, left : random.integers(left, width) + 1] = 1
    return mask


def masks_of_all_kinds():
    random = np.random.default_rng(0)
    sizes = [(1, 1), (1, 9), (9, 1), (8, 8), (64, 8), (65, 9), (63, 7), (128, 3), (3, 130), (37, 41), (70, 16), (7, 1)]
    for height, width in sizes:
        for kind in ("noise", "noise", "disc", "rectangle", "empty", "full"):
            yield random_mask(random, height, width, kind)


def test_against_pycocotools_mask_by_mask():
    for mask in masks_of_all_kinds():
        theirs = coco.encode(np.asfortranarray(mask))
        ours = rle.encode(mask)
        assert ours == theirs
        packed = np.packbits(mask, axis=-1, bitorder="little")
        assert rle.encode_packed(packed, mask.shape[1]) == theirs
        np.testing.assert_array_equal(rle.decode(theirs), mask)
        np.testing.assert_array_equal(rle.decode_packed(theirs), packed)
        assert rle.area(theirs) == coco.area(theirs) == mask.sum()
        x, y, width, height = coco.toBbox(theirs)
        box = rle.to_boxes(theirs)
        assert box.dtype == np.float32
        assert box.tolist() == [x, y, x + width, y + height]


def test_batches_are_the_masks_one_by_one():
    random = np.random.default_rng(1)
    masks = np.stack([random_mask(random, 45, 39, kind) for kind in ("noise", "disc", "empty", "full", "rectangle")])
    rles = rle.encode(masks)
    assert rles == coco.encode(np.asfortranarray(masks.transpose(1, 2, 0)))
    assert rles == [rle.encode(mask) for mask in masks]
    np.testing.assert_array_equal(rle.decode(rles), masks)
    assert rle.decode(rles).dtype == np.uint8
    packed = np.packbits(masks, axis=-1, bitorder="little")
    np.testing.assert_array_equal(rle.decode_packed(rles), packed)
    assert rle.encode_packed(packed, 39) == rles
    assert rle.area(rles).tolist() == masks.sum((1, 2)).tolist()
    np.testing.assert_array_equal(rle.to_boxes(rles), [rle.to_boxes(one) for one in rles])
    assert [rle.to_counts(one) for one in rles] == rle.to_counts(rles)


def test_what_counts_as_a_mask():
    mask = np.array([[0, 1, 0], [0, 1, 1]])
    expected = {"size": [2, 3], "counts": coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]}
    for given in (mask, mask.astype(bool), mask.astype(np.uint8) * 255, -mask, mask.tolist(), np.asfortranarray(mask)):
        assert rle.encode(given) == expected
    # Padding bits do not matter.
    assert rle.encode_packed(np.array([[0b11111010], [0b11111110]], np.uint8), 3) == expected


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_masks_without_pixels(shape):
    empty = rle.encode(np.zeros(shape, np.uint8))
    assert empty == {"size": list(shape), "counts": b"0"}
    assert rle.decode(empty).shape == shape
    assert rle.decode_packed(empty).shape == (shape[0], (shape[1] + 7) // 8)
    assert rle.area(empty) == 0
    assert rle.to_boxes(empty).tolist() == [0, 0, 0, 0]
    assert rle.iou([empty], [empty]).tolist() == [[0]]
    assert rle.merge([empty, empty]) == empty
    assert rle.from_polygons([[0, 0, 9, 0, 9, 9]], shape) == empty
    assert rle.decode({"size": list(shape), "counts": b""}).shape == shape


def test_no_masks():
    assert rle.encode(np.zeros((0, 4, 5), np.uint8)) == []
    assert rle.decode([]).shape == rle.decode_packed([]).shape == (0, 0, 0)
    assert rle.area([]).shape == (0,)
    assert rle.to_boxes([]).shape == (0, 4)
    assert rle.to_counts([]) == rle.from_counts([], (4, 5)) == []
    assert rle.iou([], []).shape == (0, 0)
    assert rle.iou_groups([], []) == []
    assert rle.decode(rle.from_polygons([], (4, 5))).tolist() == np.zeros((4, 5)).tolist()
    assert rle.from_boxes(np.zeros((0, 4)), (4, 5)) == []


def test_counts_worked_out_by_hand():
    # Column by column: 0 0 1 | 1 1 0.
    mask = np.array([[0, 1], [0, 1], [1, 0]], np.uint8)
    assert rle.to_counts(rle.encode(mask)) == [2, 3, 1]
    # 2, 3, 1 as they are; one group of five bits each, from "0" on.
    assert rle.encode(mask)["counts"] == b"231"
    # The fourth number is a difference: 3 - 3 = 0. And 100 takes two groups: 4 + 32 (more follow), then 3.
    assert rle.from_counts([2, 3, 1, 3], (3, 3))["counts"] == b"2310"
    assert rle.from_counts([100], (10, 10))["counts"] == bytes([48 + 4 + 32, 48 + 3])
    # A difference of -1: all bits set, 31.
    assert rle.from_counts([2, 3, 1, 2, 1], (3, 3))["counts"] == b"231" + bytes([48 + 31]) + b"0"


def test_every_form_of_counts_is_taken():
    counts = [3, 2, 5, 0, 7, 40, 1, 1, 5]
    text = coco.frPyObjects({"size": [8, 8], "counts": counts}, 8, 8)["counts"]
    assert rle.from_counts(counts, (8, 8)) == {"size": [8, 8], "counts": text}
    forms = [text, bytearray(text), text.decode(), counts, tuple(counts), np.array(counts), np.array(counts, np.uint64)]
    for form in forms:
        given = {"size": (8, np.int32(8)), "counts": form}
        assert rle.to_counts(given) == counts
        assert rle.area(given) == sum(counts[1::2])
    assert rle.from_counts([counts, [64]], (8, 8)) == [rle.from_counts(counts, (8, 8)), rle.from_counts([64], (8, 8))]


def test_a_wide_and_low_mask():
    counts = [2**22 - 3, 5, 70, 1]
    counts.append(5_000_003 - sum(counts))  # more columns than are decoded at a time
    mask = np.repeat(np.arange(5) % 2, counts).astype(np.uint8)[None]
    item = {"size": list(mask.shape), "counts": counts}
    np.testing.assert_array_equal(rle.decode(item), mask)
    np.testing.assert_array_equal(rle.decode_packed(item), np.packbits(mask, axis=-1, bitorder="little"))


def test_runs_of_no_pixels():
    """Other writers leave such runs; here they add nothing to a box either, unlike in COCO's library."""
    given = {"size": [2, 4], "counts": [1, 0, 2, 2, 0, 1, 2]}
    assert rle.area(given) == 3
    assert rle.to_boxes(given).tolist() == [1, 0, 3, 2]
    same = rle.encode(rle.decode(given))
    assert rle.to_counts(same) == [3, 3, 2]
    assert rle.iou([given], [same]).tolist() == [[1]]
    assert rle.merge([given]) == rle.merge([given, same], intersect=True) == same


def test_numbers_of_all_sizes_survive():
    for pixels in (15, 16, 31, 32, 511, 512, 2**20, 2**31 - 1):
        counts = [pixels // 3, 0, 1, pixels - pixels // 3 - 1]
        given = rle.from_counts(counts, (1, pixels))
        assert given == coco.frPyObjects({"size": [1, pixels], "counts": counts}, 1, pixels)
        assert rle.to_counts(given) == counts
        assert rle.area(given) == counts[3]


def disc_rles(seed, count, size=(60, 53)):
    random = np.random.default_rng(seed)
    kinds = random.choice(["disc", "rectangle", "noise", "empty", "full"], count, p=[0.4, 0.4, 0.1, 0.05, 0.05])
    return rle.encode(np.stack([random_mask(random, *size, kind) for kind in kinds]))


@pytest.mark.parametrize("size", [(60, 53), (1, 40), (40, 1), (9, 700)])
def test_iou_equals_pycocotools(size):
    """In wide images, masks with few runs are compared run by run, and the others column by column."""
    a, b = disc_rles(0, 30, size), disc_rles(1, 25, size)
    flags = [index % 3 == 0 for index in range(25)]
    for crowd in ([False] * 25, flags, [True] * 25):
        ours = rle.iou(a, b, crowd)
        assert ours.dtype == np.float64
        np.testing.assert_array_equal(ours, coco.iou(a, b, crowd))
    np.testing.assert_array_equal(rle.iou(a, b), rle.iou(a, b, np.zeros(25, np.uint8)))
    assert rle.iou(a[0], b).shape == (25,)
    assert rle.iou(a, b[0], True).shape == (30,)
    assert rle.iou(a[0], b[0]).shape == ()
    assert rle.iou(a, []).shape == (30, 0)


def test_groups_are_the_groups_one_by_one():
    a, b = disc_rles(2, 20), disc_rles(3, 18)
    other = disc_rles(4, 5, (11, 90))
    groups_a = [a[:5], [], a[5:20], other]
    groups_b = [b[:3], b[3:7], b[7:18], other[::-1]]
    crowd = [[True] * 3, [False] * 4, [False, True] * 5 + [False], [False] * 5]
    for flags in (None, crowd):
        for index, values in enumerate(rle.iou_groups(groups_a, groups_b, flags)):
            expected = rle.iou(groups_a[index], groups_b[index], flags and flags[index])
            assert values.shape == (len(groups_a[index]), len(groups_b[index]))
            np.testing.assert_array_equal(values, expected)


def test_merge_equals_pycocotools():
    for seed in range(6):
        rles = disc_rles(seed, 2 + seed % 3)
        masks = rle.decode(rles)
        for intersect in (False, True):
            merged = rle.merge(rles, intersect)
            assert merged == coco.merge(rles, intersect)
            np.testing.assert_array_equal(rle.decode(merged), masks.all(0) if intersect else masks.any(0))


def test_boxes_equal_pycocotools():
    random = np.random.default_rng(5)
    corners = random.uniform(-5, 40, (50, 2))
    boxes = np.concatenate([corners, corners + random.uniform(0, 20, (50, 2))], 1)
    boxes[::2] = np.round(boxes[::2])
    theirs = coco.frPyObjects(np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1), 33, 29)
    # Theirs adds width and height to the corner again, which may round.
    again = np.concatenate([boxes[:, :2], boxes[:, :2] + (boxes[:, 2:] - boxes[:, :2])], 1)
    assert rle.from_boxes(again, (33, 29)) == theirs
    assert rle.from_boxes(again[0], (33, 29)) == theirs[0]
    assert rle.from_boxes([2, 1, 5, 4], (6, 7)) == rle.encode(np.pad(np.ones((3, 3), int), ((1, 2), (2, 2))))


def test_results_do_not_depend_on_the_number_of_threads(rle_form):
    if rle_form == "reference":
        pytest.skip("the reference has one thread")
    masks = np.random.default_rng(6).integers(0, 2, (40, 33, 35)).astype(np.uint8)
    results = []
    try:
        for threads in (1, 2, 3, 5, 2):
            CORE.set_num_threads(threads)
            rles = rle.encode(masks)
            results.append((rles, rle.iou(rles, rles).tobytes(), rle.decode(rles).tobytes(), rle.area(rles).tobytes()))
    finally:
        CORE.set_num_threads(0)
    assert all(result == results[0] for result in results)
    assert results[0][2] == masks.tobytes()


def test_annotations_of_a_real_data_set():
    record = json.loads(shared_data("fruits_nuts", "instances.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in record["images"]}
    made, theirs = {}, {}
    for annotation in record["annotations"]:
        image = annotation["image_id"]
        size = sizes[image]
        parts = coco.frPyObjects(annotation["segmentation"], *size)
        theirs.setdefault(image, []).append(coco.merge(parts))
        made.setdefault(image, []).append(rle.from_polygons(annotation["segmentation"], size))
        assert made[image][-1] == theirs[image][-1]
    assert sum(len(rles) for rles in made.values()) > 100
    for image, rles in list(made.items())[:4]:
        np.testing.assert_array_equal(rle.decode(rles).transpose(1, 2, 0), coco.decode(theirs[image]))
        np.testing.assert_array_equal(rle.iou(rles, rles[::-1]), coco.iou(rles, rles[::-1], [False] * len(rles)))
        np.testing.assert_array_equal(rle.area(rles), coco.area(rles))


@pytest.mark.parametrize("name", rle.__all__)
def test_example(name):
    function = getattr(rle, name)
    examples = doctest.DocTestParser().get_doctest(function.__doc__, {"np": np, **vars(rle)}, name, None, None)
    assert examples.examples
    report: list[str] = []
    assert doctest.DocTestRunner().run(examples, out=report.append).failed == 0, "".join(report)


def test_public_names():
    assert kseg_ops.rle is kseg_ops.numpy.rle is rle
