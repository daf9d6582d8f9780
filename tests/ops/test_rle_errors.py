"""What kseg_ops.rle refuses, and that nothing malformed gets further than an error."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kseg_ops import _library, rle
from tests.helpers.kseg_ops_copy import PACKAGE, run_python

pytestmark = pytest.mark.usefixtures("rle_form")

GOOD = {"size": [4, 5], "counts": [3, 4, 13]}


def of(counts, size=(4, 5)):
    return {"size": list(size), "counts": counts}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (of(b"34=0"), ValueError, r"\] counts must sum to height \* width = 20, got more at position 3"),
        (of(b"34"), ValueError, r"\] counts must sum to height \* width = 20, got 7"),
        (of(b""), ValueError, r"\] counts must sum to height \* width = 20, got 0"),
        (of(b"34]"), ValueError, r"\] counts is truncated: it ends within a number"),
        (of(b"3 4"), ValueError, r"\] counts must consist of the characters '0' to 'o', got code 32 at position 1"),
        (of(b"34\x00"), ValueError, r"\] counts must consist of the characters '0' to 'o', got code 0 at position 2"),
        (of(b"34\xff"), ValueError, r"\] counts must consist of the characters '0' to 'o', got code 255 at position 2"),
        (of("3ü"), ValueError, r"\] counts must consist of the characters '0' to 'o', got '3ü'"),
        (of(b"34" + b"P" * 7 + b"0"), ValueError, r"\] counts holds a number that is too long at position 9"),
        (of(b"3O"), ValueError, r"\] counts must not be negative, got -1 at position 1"),
        (of(b"3410M"), ValueError, r"\] counts must not be negative, got -2 at position 4"),
        (of([3, -4, 21]), ValueError, r"\] counts must not be negative, got -4 at position 1"),
        (of([3, 2**63 - 1]), ValueError, r"\] counts must sum to height \* width = 20, got more at position 1"),
        (of([3, 2**64]), ValueError, r"\] counts must sum to height \* width, got 18446744073709551616"),
        (of(np.array([3, 2**64 - 1], np.uint64)), ValueError, r"\] counts must sum to height \* width = 20, got more"),
        (of([3, 4, 12]), ValueError, r"\] counts must sum to height \* width = 20, got 19"),
        (of([3.0, 4.0, 13.0]), TypeError, r"\] counts must be bytes, a string or a list of integers, got .* float64"),
        (of([[3, 4, 13]]), ValueError, r"\] counts must be bytes, a string or a list of integers"),
        (of([[3, 4], [13]]), ValueError, r"\] counts must be bytes, a string or a list of integers"),
        (of(None), ValueError, r"\] counts must be bytes, a string or a list of integers, got None"),
        (of(b"0", (-1, 5)), ValueError, r"\] size must not be negative, got \[-1, 5\]"),
        (of(b"0", (2**16, 2**15)), ValueError, r"\] size must be at most 2147483647 pixels, got \[65536, 32768\]"),
        (of(b"0", (2**62, 4)), ValueError, r"\] size must be at most 2147483647 pixels"),
        (of(b"0", (2**80, 4)), ValueError, r"\] size must be at most 2147483647 pixels"),
        (of(b"0", (2**40, 0)), ValueError, r"\] size must be at most 2147483647 pixels"),
        (of(b"0", (4, 5, 1)), TypeError, r"\] size must be two integers, height and width, got \[4, 5, 1\]"),
        (of(b"0", (4, 5.0)), TypeError, r"\] size must be two integers"),
        ({"counts": b"0"}, TypeError, r"\] must be a dict with 'size' and 'counts', got \{'counts'"),
        (7, TypeError, r"\] must be a dict with 'size' and 'counts', got 7"),
    ],
)
def test_malformed_rles(given, error, message):
    for call in (rle.decode, rle.decode_packed, rle.area, rle.to_boxes, rle.to_counts, rle.merge):
        with pytest.raises(error, match=r"^rles\[1" + message):
            call([GOOD, given])
    with pytest.raises(error, match=r"^a\[1" + message):
        rle.iou([GOOD, given], [])
    with pytest.raises(error, match=r"^b\[0" + message):
        rle.iou([], [given])


def test_what_is_no_list_of_rles():
    for given in (None, 3, "text", np.zeros((3, 4))):
        with pytest.raises(TypeError, match="rles must be a dict with 'size' and 'counts' or a list of them, got"):
            rle.area(given)


def test_sizes_that_differ():
    other = of([30], (5, 6))
    with pytest.raises(ValueError, match="rles must have one size"):
        rle.decode([GOOD, other])
    with pytest.raises(ValueError, match=r"rles must have one size, got \[4, 5\] and \[5, 6\]"):
        rle.merge([GOOD, other])
    with pytest.raises(ValueError, match=r"a and b must have one size, got \[4, 5\] of a\[0\] and \[5, 6\] of b\[1\]"):
        rle.iou([GOOD], [GOOD, other])
    assert rle.area([GOOD, other]).tolist() == [4, 0]
    assert rle.to_boxes([GOOD, other]).shape == (2, 4)


def test_other_arguments():
    with pytest.raises(ValueError, match="rles must hold at least one mask"):
        rle.merge([])
    with pytest.raises(TypeError, match="intersect must be True or False, got 'False'"):
        rle.merge([GOOD], intersect="False")
    with pytest.raises(TypeError, match="masks must be bool or integers, got float64"):
        rle.encode(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"masks must have shape \[H, W\] or \[N, H, W\], got \[4\]"):
        rle.encode(np.zeros(4, int))
    with pytest.raises(TypeError, match="packed must be uint8, got int64"):
        rle.encode_packed(np.zeros((2, 2), int), 9)
    for width in (8, 17, 0):
        with pytest.raises(ValueError, match=rf"width must be that of .* 2 bytes per row, got {width}"):
            rle.encode_packed(np.zeros((2, 2), np.uint8), width)
    for width in (-1, 2**31):
        with pytest.raises(ValueError, match=r"width must be in 0..2147483647"):
            rle.encode_packed(np.zeros((2, 2), np.uint8), width)
    with pytest.raises(ValueError, match="is_crowd must have one entry per mask of b, 1, got 2"):
        rle.iou([GOOD], [GOOD], [True, False])
    with pytest.raises(TypeError, match="is_crowd must be a list of bools"):
        rle.iou([GOOD], [GOOD], [0.5])
    with pytest.raises(ValueError, match="a and b must have equally many groups, got 1 and 2"):
        rle.iou_groups([[]], [[], []])
    with pytest.raises(ValueError, match="is_crowd must have one entry per mask of b in every group"):
        rle.iou_groups([[GOOD]], [[GOOD]], [[]])
    with pytest.raises(ValueError, match=r"^counts\[1\] must sum to height \* width = 4, got 3"):
        rle.from_counts([[4], [3]], (2, 2))
    with pytest.raises(TypeError, match="counts must be a list of integers or a list of such lists, got b'4'"):
        rle.from_counts(b"4", (2, 2))
    with pytest.raises(ValueError, match=r"image_size must be at most 2147483647 pixels"):
        rle.from_counts([0], (2**31, 1))


@pytest.mark.parametrize(
    ("polygons", "error", "message"),
    [
        ([[0, 0, 1, 0, 1]], ValueError, r"polygons\[0\] must hold pairs of x and y, got 5 coordinates"),
        ([[0, 0, 1, 1]], ValueError, r"polygons\[0\] must have at least three points, got 2; four numbers are a box"),
        ([[]], ValueError, r"polygons\[0\] must have at least three points, got 0"),
        ([[0, 0, 1, 0, np.nan, 1]], ValueError, r"polygons\[0\] must be finite and within 67108864 .* got nan at .* 4"),
        ([[0, 0, 1, 0, 1, np.inf]], ValueError, r"polygons\[0\] must be finite and within 67108864 .* got inf at .* 5"),
        ([[0, 0, 1, 0, 1, -1e300]], ValueError, r"must be finite and within .* got -1e\+300 at position 5"),
        ([[0, 0, 2**26 + 1, 0, 1, 1]], ValueError, r"must be finite and within"),
        ([[0, 0, "a", 0, 1, 1]], TypeError, r"polygons\[0\] must be a flat list of coordinates x, y in turn, got"),
        ([[[0, 0], [1, 0], [1, 1]]], TypeError, r"polygons\[0\] must be a flat list of coordinates x, y in turn, got"),
        ([0, 0, 1, 0, 1, 1], TypeError, r"polygons\[0\] must be a flat list of coordinates x, y in turn, got 0"),
        (GOOD, TypeError, r"polygons\[0\] must be a flat list of coordinates x, y in turn, got 'size'"),
        (3, TypeError, r"polygons must be a list of lists of coordinates, got 3"),
    ],
)
def test_malformed_polygons(polygons, error, message):
    with pytest.raises(error, match=message):
        rle.from_polygons(polygons, (4, 5))


def test_malformed_boxes_and_sizes():
    for size in ((2**31, 1), (2**16, 2**16), (0, 2**70)):
        with pytest.raises(ValueError, match="image_size must be at most 2147483647 pixels"):
            rle.from_polygons([[0, 0, 1, 0, 1, 1]], size)
    with pytest.raises(ValueError, match=r"image_size must not be negative, got \[-1, 5\]"):
        rle.from_boxes([0, 0, 1, 1], (-1, 5))
    with pytest.raises(TypeError, match="image_size must be two integers, height and width, got 5"):
        rle.from_boxes([0, 0, 1, 1], 5)
    with pytest.raises(ValueError, match=r"boxes must have shape \[4\] or \[N, 4\], got \[3\]"):
        rle.from_boxes([0, 0, 1], (4, 5))
    with pytest.raises(ValueError, match=r"boxes\[1\] must be finite and within .*, got nan at position 3"):
        rle.from_boxes([[0, 0, 1, 1], [0, 0, 1, np.nan]], (4, 5))


def test_random_text_is_decoded_or_refused():
    random = np.random.default_rng(0)
    outcomes = {"decoded": 0, "refused": 0}
    for index in range(3000):
        text = random.integers(48, 112, random.integers(0, 12)).astype(np.uint8)
        if index % 2:  # most of what is left is refused late, for its sum
            text = random.integers(48, 56, random.integers(0, 8)).astype(np.uint8)
        size = tuple(int(side) for side in random.integers(0, 6, 2))
        try:
            mask = rle.decode(of(text.tobytes(), size))
        except ValueError as error:
            mask, message = None, str(error)
        if mask is None:
            assert message.startswith("rles[0] counts ")
        else:
            assert mask.shape == size
        outcomes["refused" if mask is None else "decoded"] += 1
    assert min(outcomes.values()) > 50, outcomes


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"a": [np.array([4.0])]}, TypeError, r"a\[0\] counts must be int64, got float64"),
        ({"b": [np.array([[4]])]}, ValueError, r"b\[0\] counts must have rank 1, got rank 2"),
        ({"b": ["4"]}, TypeError, r"b\[0\] counts must be bytes or an array"),
        ({"a_sizes": np.array([2, 2])}, ValueError, "a_sizes must have rank 2, got rank 1"),
        (
            {"b_sizes": np.array([[2, 2]] * 2)},
            ValueError,
            r"b_sizes must be \[N, 2\] with a row per mask, 1, got \[2, 2\]",
        ),
        ({"a_splits": np.array([0, 2])}, ValueError, "a_splits must rise from 0 to the number of masks, 1"),
        ({"b_splits": np.array([0, 0, 1])}, ValueError, "a_splits and b_splits must have equally many .* got 2 and 3"),
        ({"is_crowd": np.ones(1)}, TypeError, "is_crowd must be uint8, got float64"),
    ],
)
def test_the_module_names_what_is_wrong(rle_form, change, error, message):
    if rle_form == "reference":
        pytest.skip("the raw functions of the module are compiled")
    given = {f"{side}{what}": value for side in "ab" for what, value in GROUP.items()}
    with pytest.raises(error, match=message):
        _library.core().rle_iou(**{**given, **change})


GROUP = {"": [np.array([4])], "_sizes": np.array([[2, 2]]), "_splits": np.array([0, 1])}

WITHOUT_TENSORFLOW = """
import json, sys
from kseg_ops import rle
print(json.dumps([rle.area({"size": [2, 2], "counts": [1, 3]}), "tensorflow" in sys.modules]))
"""


def test_tensorflow_is_not_needed(rle_form):
    if rle_form == "native" and _library.core() is None:
        pytest.skip("the compiled library is off")
    done = run_python(WITHOUT_TENSORFLOW, PACKAGE.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == [3, False]
