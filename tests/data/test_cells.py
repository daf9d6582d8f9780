"""The drawn microscopy: deterministic, consistent, hard for a threshold."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from kseg.data import CellsSource, DataError, cells, otsu_watershed


def test_pure_function_of_seed_and_index():
    image, mask = CellsSource(5, seed=3).load(4)
    again, mask_again = CellsSource(50, seed=3).load(4)
    assert image.tobytes() == again.tobytes()
    assert mask.tobytes() == mask_again.tobytes()
    pictures = {CellsSource(3, seed=s).load(i)[0].tobytes() for s in (0, 1) for i in range(3)}
    assert len(pictures) == 6


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [128, (65, 97), (16, 200)])
def test_shapes_and_ids(size, channels):
    source = CellsSource(3, size, channels=channels)
    height, width = (size, size) if isinstance(size, int) else size
    for index in range(3):
        image, mask = source.load(index)
        ids = source.load_instances(index)
        assert image.shape == (height, width, channels)
        assert image.dtype == np.uint8
        assert mask.shape == ids.shape == (height, width)
        assert mask.dtype == np.uint8
        assert ids.dtype == np.int32
        np.testing.assert_array_equal(mask, ids > 0)
        assert np.unique(np.append(ids, 0)).tolist() == list(range(ids.max() + 1))


def test_pictures_are_what_they_claim():
    source = CellsSource(30)
    cover, touching, bright, dark, clipped = [], 0, 0, 0, []
    for index in range(30):
        image, mask = source.load(index)
        ids = source.load_instances(index)
        cover.append(mask.mean())
        clipped.append(np.isin(image, (0, 255)).mean())
        neighbours = (ids[:, 1:] != ids[:, :-1]) & (ids[:, 1:] > 0) & (ids[:, :-1] > 0)
        touching += bool(neighbours.any())
        background = image[mask == 0].astype(float)
        for number in range(1, ids.max() + 1):
            if (ids == number).sum() > 150:
                level = image[ids == number].mean() - background.mean()
                bright += level > background.std()
                dark += level < -background.std()
    assert 0.25 < np.mean(cover) < 0.5
    assert min(cover) > 0.05
    assert max(cover) < 0.8
    assert touching >= 25
    assert bright > 20
    assert dark > 60
    assert max(clipped) < 0.02


def test_threshold_and_watershed_stay_below():
    source = CellsSource(40, seed=77)
    confusion = np.zeros((2, 2))
    for index in range(40):
        image, mask = source.load(index)
        found = otsu_watershed(image)
        confusion += np.bincount(2 * mask.ravel() + found.ravel(), minlength=4).reshape(2, 2)
    iou = np.diag(confusion) / (confusion.sum(0) + confusion.sum(1) - np.diag(confusion))
    # An honest yardstick is no straw man: it does find cells.
    assert 0.5 < iou.mean() <= 0.75


def test_otsu_watershed_on_an_easy_picture():
    y, x = np.mgrid[:64, :64]
    truth = ((y - 20) ** 2 + (x - 20) ** 2 < 100) | ((y - 44) ** 2 + (x - 40) ** 2 < 120)
    for image in (50 + 100 * truth, 200 - 100 * truth):
        found = otsu_watershed(image.astype(np.uint8)[..., None], blur=0)
        assert found.dtype == np.uint8
        # Opening may shave single pixels off the discs' poles.
        assert (found != truth).sum() <= 16
    assert otsu_watershed(np.zeros((20, 20))).sum() == 0


def test_otsu_watershed_without_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ImportError, match=r"needs scikit-image, which is not installed: pip install 'kseg\[demo\]'"):
        otsu_watershed(np.zeros((8, 8)))


def test_batches():
    image, mask = next(iter(cells(5, 2, 48, shuffle=True, channels=3)))
    assert image.shape == (2, 48, 48, 3)
    assert mask.shape == (2, 48, 48)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be an integer of at least 1, got 0"),
        ({"count": 1, "channels": 2}, r"channels must be 1 \(grey\) or 3 \(RGB\), got 2"),
        ({"count": 1, "density": 1.5}, "density must lie between 0 and 1, got 1.5"),
        (
            {"count": 1, "radius": (1, 9)},
            r"radius must be \(smallest, largest\) in pixels, each at least 2, got \(1, 9\)",
        ),
        ({"count": 1, "noise": -1}, "debris and noise must be at least 0, got 1.0 and -1"),
    ],
)
def test_arguments(options, message):
    with pytest.raises(DataError, match=message):
        CellsSource(**options)


def test_index_out_of_range():
    with pytest.raises(IndexError, match=r"index must lie in 0\.\.2, got 3"):
        CellsSource(3).load(3)
