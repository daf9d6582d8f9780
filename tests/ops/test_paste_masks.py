"""paste_masks by hand, against what torch recorded, and against pycocotools' reading of its run lengths."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from tests.helpers.mask_cases import both_forms, in_form
from tests.ops import make_paste_masks_golden as golden

modes = pytest.mark.parametrize("mode", ["detectron2", "torchvision"])


def decoded(counts, size):
    """COCO's uncompressed counts of one mask -> uint8 `[H, W]`."""
    flat = np.repeat(np.arange(len(counts)) % 2, counts)
    return flat.reshape(size[1], size[0]).T.astype(np.uint8)


# -- by hand -----------------------------------------------------------------------------------------------------------


@both_forms
def test_detectron2_by_hand(form):
    paste = in_form(form, "paste_masks")
    ones = np.ones((1, 2, 2), np.float32)
    # Whole pixels: exactly the box. Edges through pixel centres read exactly half, which is enough.
    assert paste(ones, [[1, 0, 3, 2]], (3, 4)).numpy().tolist() == [[[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]]
    assert paste(ones, [[0.5, 0, 2.5, 2]], (3, 4)).numpy()[0].tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    assert paste(ones, [[0.5, 0, 2.5, 2]], (3, 4), 0.6).numpy()[0].tolist() == [[0, 1, 0, 0]] * 2 + [[0] * 4]
    # Each pixel of the mask becomes 2 x 2.
    checks = np.array([[[1, 0], [0, 1]]], np.float32)
    # At a corner 3/4 of the value per axis are left, and half-way to the other pixel, too.
    pasted = paste(checks, [[0, 0, 4, 4]], (4, 4), 0.55).numpy()[0]
    assert pasted.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]


@both_forms
def test_torchvision_by_hand(form):
    paste = in_form(form, "paste_masks")
    ones = np.ones((1, 2, 2), np.float32)
    # The box doubles to [0, 4] and, its last pixel included, takes 5 pixels: samples at 0.8 i - 0.1 of 0 1 1 0.
    # Values 0, 0.7, 1, 0.7, 0 per axis.
    assert paste(ones, [[1, 1, 3, 3]], (5, 5), 0.5, "torchvision").numpy()[0].tolist() == [
        [0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ]


@both_forms
def test_thresholds_are_at_or_above(form):
    """A constant mask away from its border gives the constant: at the threshold for one mode, above for the other."""
    mask, box = np.full((1, 4, 4), 0.5, np.float32), [[0, 0, 16, 16]]
    paste = in_form(form, "paste_masks")
    assert paste(mask, box, (16, 16)).numpy()[0, 8, 8] == 1
    assert paste(mask, box, (16, 16), mode="torchvision").numpy()[0, 8, 8] == 0


# -- against torch -----------------------------------------------------------------------------------------------------


@both_forms
@modes
@pytest.mark.parametrize("name", golden.SETTINGS)
def test_equals_torch_in_every_pixel(form, mode, name):
    with np.load(golden.FILE) as recorded:
        check_torch(in_form(form, "paste_masks"), mode, name, recorded)


@modes
def test_the_reference_in_a_graph_of_static_sizes_equals_torch(mode):
    """There, constants are known, and an optimizer rewrites arithmetic where it can."""

    @tf.function(jit_compile=False)
    def paste(masks, boxes):
        with kseg_ops.use_reference():
            return kseg_ops.paste_masks(masks, boxes, golden.IMAGE, 0.5, mode)

    with np.load(golden.FILE) as recorded:
        for name in ("28", "binary"):
            check_torch(lambda masks, boxes, *_: paste(masks, boxes), mode, name, recorded)


def check_torch(paste, mode, name, recorded):
    masks, boxes, threshold = golden.masks(name), golden.boxes(), golden.SETTINGS[name][1]
    np.testing.assert_array_equal(recorded["boxes"], boxes)
    assert recorded[f"masks_{name}"] == masks.sum(dtype=np.float64)
    expected = np.unpackbits(recorded[f"{mode}_{name}"], axis=-1, count=golden.IMAGE[1], bitorder="little")
    assert 0.01 < expected.mean() < 0.5
    np.testing.assert_array_equal(paste(masks, boxes, golden.IMAGE, threshold, mode), expected)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
@modes
def test_equals_the_torch_that_is_installed(mode, tmp_path):
    # In a process of its own: torch and TensorFlow do not always load into one.
    file = tmp_path / "answers.npz"
    subprocess.run([sys.executable, golden.__file__, str(file)], check=True, timeout=300)
    with np.load(file) as recorded:
        for name in golden.SETTINGS:
            check_torch(kseg_ops.paste_masks, mode, name, recorded)


# -- forms of the result -----------------------------------------------------------------------------------------------


@both_forms
@modes
def test_packed_and_run_lengths_hold_the_same_pixels(form, mode):
    paste = in_form(form, "paste_masks")
    for name in ("28", "binary"):
        threshold = golden.SETTINGS[name][1]
        args = (golden.masks(name), golden.boxes(), golden.IMAGE, threshold, mode)
        dense = paste(*args).numpy()
        packed = paste(*args, output="packed")
        np.testing.assert_array_equal(kseg_ops.unpack_masks(packed, golden.IMAGE[1]), dense)
        assert packed.shape == (len(dense), golden.IMAGE[0], (golden.IMAGE[1] + 7) // 8)
        runs = paste(*args, output="rle")
        assert runs.dtype == tf.int32
        for counts, mask in zip(runs, dense, strict=True):
            np.testing.assert_array_equal(decoded(counts.numpy(), golden.IMAGE), mask)
            assert np.all(counts.numpy()[1:] > 0)  # in COCO's form only the first run may be empty


def test_run_lengths_are_cocos():
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    args = (golden.masks("14"), golden.boxes(), golden.IMAGE, 0.3)
    dense = kseg_ops.paste_masks(*args).numpy()
    size = list(golden.IMAGE)
    for counts, mask in zip(kseg_ops.paste_masks(*args, output="rle").to_list(), dense, strict=True):
        compressed = coco.frPyObjects({"size": size, "counts": counts}, *size)
        assert compressed == coco.encode(np.asfortranarray(mask))


@both_forms
def test_runs_go_on_from_column_to_column(form):
    full = in_form(form, "paste_masks")(
        np.ones((2, 9, 9), np.float32), [[-9, -9, 99, 99], [2, -9, 5, 99]], (70, 6), output="rle"
    )
    assert full.to_list() == [[0, 420], [140, 210, 70]]


# -- extreme input -----------------------------------------------------------------------------------------------------

EXTREME_BOXES = np.array(
    [
        *(
            [bad if corner == k else 3.0 * (k > 1) + 1 for k in range(4)]
            for bad in (np.nan, np.inf, -np.inf)
            for corner in range(4)
        ),
        [50, 2, 60, 8],
        [-60, 2, -50, 8],
        [2, 50, 8, 60],
        [2, -60, 8, -50],
        [5, 5, 2, 2],
        [5.5, 5, 5, 9],
        [3, 3, 3, 3],
        [-1e9, -1e9, 1e9, 1e9],
        [-1e30, 2, 1e30, 8],
        [-3e38, -3e38, 3e38, 3e38],
        [2, 2, 3e38, 5],
        [1e-40, 0, 2e-40, 9],
        [-1e7, 2, 1e7 + 3, 8],
    ],
    np.float32,
)


@both_forms
@modes
def test_boxes_that_are_not_finite_or_meet_no_pixel_set_none(form, mode):
    masks = np.ones((17, 5, 5), np.float32)
    pasted = in_form(form, "paste_masks")(masks, EXTREME_BOXES[:17], (20, 33), mode=mode)
    np.testing.assert_array_equal(pasted, np.zeros((17, 20, 33)))


@both_forms
@modes
def test_huge_boxes(form, mode):
    masks = np.ones((2, 5, 5), np.float32)
    boxes = np.array([[-1e5, -1e5, 1e5, 1e5], [-1e9, -1e9, 1e9, 1e9]], np.float32)
    np.testing.assert_array_equal(in_form(form, "paste_masks")(masks, boxes, (20, 33), mode=mode), np.ones((2, 20, 33)))


@both_forms
@modes
def test_values_that_are_not_finite(form, mode):
    masks = np.ones((3, 3, 3), np.float32)
    masks[0, 1, 1], masks[1, 1, 1], masks[2, 1, 1] = np.nan, np.inf, -np.inf
    pasted = in_form(form, "paste_masks")(masks, [[0, 0, 30, 30]] * 3, (30, 30), mode=mode).numpy()
    assert not pasted[0, 15, 15]
    assert not pasted[2, 15, 15]
    # Infinity times a weight of 0 is NaN, so that only pixels between two others are infinite.
    assert pasted[1, 13, 13]
    assert pasted[0, 2, 2] == (mode == "detectron2" or pasted[1, 2, 2])


@both_forms
@modes
@pytest.mark.parametrize("output", ["dense", "packed", "rle"])
def test_empty_input(form, mode, output):
    paste = in_form(form, "paste_masks")
    none = paste(np.zeros((0, 5, 5), np.float32), np.zeros((0, 4), np.float32), (6, 9), mode=mode, output=output)
    assert none.shape.as_list() == [0, *{"dense": [6, 9], "packed": [6, 2], "rle": [None]}[output]]
    for size in ((0, 9), (6, 0), (0, 0)):
        empty = paste(np.ones((1, 5, 5), np.float32), [[0, 0, 5, 5]], size, mode=mode, output=output)
        if output == "rle":
            assert empty.to_list() == [[0]]
        else:
            assert empty.shape == (1, size[0], size[1] if output == "dense" else (size[1] + 7) // 8)
    blank = paste(np.ones((1, 0, 5), np.float32), [[0, 0, 5, 5]], (6, 9), mode=mode, output=output)
    if output == "rle":
        assert blank.to_list() == [[54]]
    else:
        assert not blank.numpy().any()
