from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import kseg
from tests.helpers import toy_models

MB = 2**20
CLASSES = 8
WIDTH = 512
TILE = 128


@pytest.fixture(scope="module")
def model():
    model = toy_models.pointwise(channels=1, num_classes=CLASSES)
    kseg.predict(model, np.zeros((200, 200), np.uint8), tile=TILE, overlap=8)  # traced before memory is counted
    return model


def peak(function):
    """The most that NumPy (and Python) held during a call beyond what was there before, in bytes."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_grows_with_tile_rows_and_not_with_the_image(model):
    peaks = {}
    for height in (2048, 8192):
        image, out = np.zeros((height, WIDTH), np.uint8), np.empty((height, WIDTH), np.uint8)
        peaks[height] = peak(
            lambda image=image, out=out: kseg.predict(model, image, tile=TILE, overlap=8, batch_size=1, out=out)
        )
    logits = 8192 * WIDTH * CLASSES * 4
    strip = TILE * WIDTH * CLASSES * 4
    # The strip, one tile of scores with its weighted copy, the argmax (int64) of a strip, and Python's own.
    assert peaks[8192] < 2 * strip + 2 * TILE * TILE * CLASSES * 4 + 2 * MB
    assert peaks[8192] < logits / 10
    assert peaks[8192] < peaks[2048] + 0.25 * MB


def test_the_counter_sees_a_full_size_result(model):
    image = np.zeros((2048, WIDTH), np.uint8)
    assert peak(lambda: kseg.predict(model, image, tile=TILE, overlap=8, output="logits")) > 2048 * WIDTH * CLASSES * 4


def test_memory_mapped_images_and_results(model, tmp_path):
    shape = (1024, WIDTH)
    image = np.memmap(tmp_path / "image.raw", np.uint16, "w+", shape=shape)
    image[:] = np.random.default_rng(0).integers(0, 255, shape)
    out = np.memmap(tmp_path / "scores.raw", np.float32, "w+", shape=(*shape, CLASSES))
    used = peak(lambda: kseg.predict(model, image, tile=TILE, overlap=8, output="probabilities", batch_size=1, out=out))
    assert used < 1024 * WIDTH * CLASSES * 4 / 2
    expected = kseg.predict(model, np.asarray(image), output="probabilities")
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_the_model_never_sees_more_than_a_batch_of_tiles(model):
    seen = []

    class Watching(np.ndarray):
        def __getitem__(self, key):
            part = super().__getitem__(key)
            seen.append(part.shape)
            return part

    image = np.zeros((600, WIDTH, 1), np.uint8).view(Watching)
    kseg.predict(model, image, tile=TILE, overlap=8)
    tiles = [shape for shape in seen if len(shape) == 3 and shape[2] == 1]
    assert len(tiles) > 20
    # All but the thinned-out sample that the range check looks at are tiles.
    assert all(shape[0] <= TILE and shape[1] <= TILE for shape in tiles)
