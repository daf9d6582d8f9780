from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from kseg.viz import confusion_figure, curves_figure, display_image, overlay, palette, triptych


def test_palette_is_stable_and_without_repeats():
    colours = palette(150)
    assert colours.shape == (150, 3)
    assert len({tuple(colour) for colour in colours}) == 150
    np.testing.assert_array_equal(palette(3), colours[:3])
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        palette(0)


def test_display_image_of_any_depth_and_channel_count():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(display_image(grey), np.repeat(grey[..., None], 3, -1))
    assert display_image(np.zeros((3, 4, 2), np.uint8)).shape == (3, 4, 3)
    np.testing.assert_array_equal(display_image(np.full((2, 2, 7), 5, np.uint8)), np.full((2, 2, 3), 5))
    deep = display_image(np.linspace(1000, 3000, 400).reshape(20, 20).astype(np.uint16))
    assert (deep.min(), deep.max()) == (0, 255)


def test_display_image_of_odd_values():
    values = np.array([[0.0, 1.0], [np.nan, np.inf]])
    assert display_image(values)[1].max() == 0
    assert display_image(np.full((2, 2), 7.0)).tolist() == np.full((2, 2, 3), 127).tolist()
    assert display_image(np.full((2, 2), np.nan)).max() == 0
    with pytest.raises(ValueError, match=r"got shape \(2, 2, 0\)"):
        display_image(np.zeros((2, 2, 0)))


def test_overlay_fills_classes_draws_contours_and_washes_void():
    image = np.full((7, 7), 100, np.uint8)
    classes = np.zeros((7, 7), np.int32)
    classes[1:6, 1:6] = 1
    classes[6, 6] = 255
    drawn = overlay(image, classes, 2, alpha=0.5)
    colour = palette(2)[1]
    np.testing.assert_array_equal(drawn[0, 0], [100, 100, 100])  # background: untouched
    np.testing.assert_array_equal(drawn[1, 3], colour)  # contour: full strength
    np.testing.assert_array_equal(drawn[3, 3], np.round(0.5 * 100 + 0.5 * colour.astype(float)))  # fill
    assert drawn[6, 6].min() > 180  # void
    np.testing.assert_array_equal(overlay(image, classes, 2, contour_width=0, alpha=0)[1, 3], [100, 100, 100])
    assert (overlay(image, classes, 2, background=None)[0, 0] != 100).any()


def test_overlay_checks_its_arguments():
    with pytest.raises(ValueError, match=r"classes must have the image's size \(2, 2\), got shape \(3, 2\)"):
        overlay(np.zeros((2, 2)), np.zeros((3, 2), int))
    with pytest.raises(ValueError, match=r"alpha must lie between 0 and 1, got 1\.5"):
        overlay(np.zeros((2, 2)), np.zeros((2, 2), int), alpha=1.5)


@pytest.mark.parametrize("size", [(20, 30), (700, 350), (1, 1)])
def test_triptych_panels_are_of_a_size_to_look_at(size):
    image = np.zeros((*size, 3), np.uint8)
    truth = np.zeros(size, np.int32)
    drawn = triptych(image, truth, truth, 3, class_names=["a", "b", "c"])
    panel = (drawn.shape[1] - 3 * 6) / 4
    longest = panel * max(1.0, size[0] / size[1])
    assert 160 < longest <= 640
    narrower = triptych(image, None, truth, 3)
    assert narrower.shape[1] < drawn.shape[1]


def test_triptych_marks_errors_but_not_void():
    image = np.zeros((40, 40), np.uint8)
    truth = np.zeros((40, 40), np.int32)
    truth[:, :20] = 255
    right = triptych(image, truth, np.zeros((40, 40), np.int32), 2)
    wrong = triptych(image, truth, np.ones((40, 40), np.int32), 2)
    red = [235, 60, 60]
    assert (right == red).all(-1).sum() == 0
    # The right half of the last panel: 20 x 40 pixels, enlarged eight times.
    assert (wrong == red).all(-1).sum() == 20 * 40 * 8**2


def test_triptych_checks_sizes():
    with pytest.raises(ValueError, match=r"truth must have the image's size \(4, 4\), got shape \(4, 5\)"):
        triptych(np.zeros((4, 4)), np.zeros((4, 5), int), np.zeros((4, 4), int), 2)


@pytest.mark.parametrize("classes", [2, 15, 45])
def test_confusion_figure(tmp_path, classes):
    path = confusion_figure(np.eye(classes, dtype=np.int64), tmp_path / "c.png")
    with Image.open(path) as picture:
        assert picture.size[0] > 300


def test_confusion_figure_wants_a_square():
    with pytest.raises(ValueError, match=r"matrix must be square, got shape \(2, 3\)"):
        confusion_figure(np.zeros((2, 3)), "c.png")


def test_curves_figure_with_and_without_validation(tmp_path):
    rows = [{"epoch": epoch, "loss": 1 / epoch, "mean_iou": 0.5} for epoch in (1, 2)]
    with_validation = [row | {"val_loss": 1.0, "val_mean_iou": 0.4} for row in rows]
    for number, history in enumerate((rows, with_validation, [])):
        path = curves_figure(history, tmp_path / f"{number}.png", best_epoch=2)
        with Image.open(path) as picture:
            assert picture.size[0] > 800
