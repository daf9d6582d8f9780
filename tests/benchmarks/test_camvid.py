"""The parts of the CamVid benchmark that need neither the data nor a framework of training."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from benchmarks.camvid_parts import data
from benchmarks.camvid_parts.record import Record, standard_error, table, verdict
from benchmarks.camvid_parts.settings import Settings, Trained

SETTINGS = Settings("unet", 0, budget=100.0, batch=4, crop=(32, 64), rate=0.01, threads=2)


def numbered(count=5):
    """Images whose red is their number, green their row and blue their column; masks that are the column."""
    rows, columns = np.mgrid[:40, :80].astype(np.uint8)
    images = [np.stack([np.full_like(rows, number), rows, columns], -1) for number in range(count)]
    return np.stack(images), np.stack([columns] * count)


def test_batches_are_crops_mirrored_or_not_with_their_labels():
    images, masks = numbered()
    drawn = list(itertools.islice(data.batches(images, masks, size=4, crop=(32, 64), seed=3), 10))
    mirrored = []
    for pixels, labels in drawn:
        assert (pixels.shape, pixels.dtype) == ((4, 32, 64, 3), np.uint8)
        assert (labels.shape, labels.dtype) == ((4, 32, 64), np.int64)
        np.testing.assert_array_equal(pixels[..., 2], labels)
        steps = np.diff(labels[:, 0], axis=-1)
        assert (np.abs(steps) == 1).all()
        mirrored += (steps[:, 0] < 0).tolist()
    assert 0 < sum(mirrored) < len(mirrored)
    # 40 draws are 8 rounds of 5 images.
    order = np.concatenate([pixels[:, 0, 0, 0] for pixels, _ in drawn]).reshape(8, 5)
    assert (np.sort(order, axis=1) == np.arange(5)).all()
    assert len(np.unique(order, axis=0)) > 1


def test_batches_depend_on_the_seed_alone():
    images, masks = numbered()

    def first(seed):
        return next(data.batches(images, masks, size=4, crop=(32, 64), seed=seed))[0]

    np.testing.assert_array_equal(first(1), first(1))
    assert (first(1) != first(2)).any()


def test_padding_repeats_the_edge():
    images = numbered(1)[0]
    padded = data.padded(images)
    assert padded.shape == (1, 64, 96, 3)
    np.testing.assert_array_equal(padded[:, :40, :80], images)
    np.testing.assert_array_equal(padded[0, 40:, 80:], np.broadcast_to(images[0, -1, -1], (24, 16, 3)))


def test_confusion_matrix_leaves_void_out():
    truth = np.array([[[0, 0, 1, data.VOID]]], np.uint8)
    matrix = data.confusion_matrix(truth, np.array([[[0, 2, 1, 5]]], np.uint8))
    expected = np.zeros((11, 11), int)
    expected[0, 0] = expected[0, 2] = expected[1, 1] = 1
    np.testing.assert_array_equal(matrix, expected)
    np.testing.assert_array_equal(data.ious(matrix), [0.5, 1, 0] + [np.nan] * 8)


def test_learning_rate_over_the_budget():
    assert SETTINGS.learning_rate(0) == pytest.approx(1e-4)
    assert SETTINGS.learning_rate(2.5) == pytest.approx(0.005)
    assert SETTINGS.learning_rate(5) == pytest.approx(0.01)
    assert SETTINGS.learning_rate(52.5) == pytest.approx(0.01 * 0.5**0.9)
    assert SETTINGS.learning_rate(100) == SETTINGS.learning_rate(130) == 0


def test_a_record_knows_its_runs(tmp_path):
    path = tmp_path / "results" / "camvid.json"
    trained = Trained(steps=40, seconds=100.0, losses=[1.0] * 38 + [0.25, 0.75], parameters=1234, classes=np.zeros(0))
    matrix = np.diag(np.full(11, 3))
    matrix[0, 1] = 3
    run = Record(path).add(SETTINGS, trained, matrix)
    assert run["mean_iou"] == pytest.approx((0.5 + 0.5 + 9) / 11)
    assert run["pixel_accuracy"] == pytest.approx(33 / 36)
    assert run["images_per_second"] == 1.6
    assert run["last_loss"] == 0.5
    record = Record(path)
    assert record.has(SETTINGS)
    another = dataclasses.replace(SETTINGS, seed=1)
    assert not record.has(another)
    assert record.like(another) == record.runs
    assert record.like(dataclasses.replace(SETTINGS, budget=20.0)) == []
    assert "| unet | 1,234 | 0 | 0.9091 |  | 0.9167 | 40 | 1.6 |" in table({"unet": record.runs, "segnet": []})


def test_the_verdict():
    def runs(*values):
        return [{"mean_iou": value} for value in values]

    assert standard_error([0.4, 0.5, 0.6]) == pytest.approx(0.1 / 3**0.5)
    assert standard_error([0.4]) is None
    assert verdict(runs(0.5), runs(0.4, 0.5)) is None
    assert verdict(runs(0.5, 0.6), runs(0.5)) is None
    bar = 0.5 - 0.1 / 3**0.5
    for ours, kept in ((bar + 1e-6, True), (bar - 1e-6, False)):
        assert verdict(runs(ours, ours), runs(0.4, 0.5, 0.6))[0] is kept
