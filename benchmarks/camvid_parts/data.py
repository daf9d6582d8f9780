"""CamVid at half resolution, and the batches that every model sees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from benchmarks.harness import shared_data

CLASS_NAMES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "cyclist",
)  # fmt: skip
VOID = 11
# What networks of five levels divide evenly: segmentation-models-pytorch refuses other sizes.
STRIDE = 32


def load(part: str) -> tuple[np.ndarray, np.ndarray]:
    """The images and masks of one part.

    Args:
        part: `"train"` or `"val"`.

    Returns:
        uint8 images `(N, 180, 240, 3)`, means of 2 x 2 pixels, and uint8 masks `(N, 180, 240)`, one of those pixels.
    """
    images, masks = [], []
    for path in sorted((shared_data("camvid") / part / "images").glob("*.jpg")):
        with Image.open(path) as image:
            images.append(np.asarray(image.convert("RGB").reduce(2)))
        with Image.open(shared_data("camvid") / part / "masks" / f"{path.stem}.png") as mask:
            masks.append(np.asarray(mask)[::2, ::2])
    return np.stack(images), np.stack(masks)


def batches(
    images: np.ndarray, masks: np.ndarray, *, size: int, crop: tuple[int, int], seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random crops, every second one mirrored, without end; every image once before any comes again.

    A pure function of its arguments: models with the same seed see the same pixels in the same order.

    Yields:
        uint8 images `(size, *crop, 3)` and int64 labels `(size, *crop)`.
    """
    random = np.random.default_rng(seed)
    height, width = crop
    queue: list[int] = []
    while True:
        chosen, labels = [], []
        for _ in range(size):
            queue = queue or random.permutation(len(images)).tolist()
            index = queue.pop()
            top = random.integers(0, images.shape[1] - height + 1)
            left = random.integers(0, images.shape[2] - width + 1)
            part = np.s_[top : top + height, left : left + width]
            step = random.choice((1, -1))
            chosen.append(images[index][part][:, ::step])
            labels.append(masks[index][part][:, ::step])
        yield np.stack(chosen), np.stack(labels).astype(np.int64)


def padded(images: np.ndarray) -> np.ndarray:
    """Images with their last row and column repeated up to the next multiple of `STRIDE`."""
    rows, columns = (-size % STRIDE for size in images.shape[1:3])
    return np.pad(images, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="edge")


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How often each class, by row, was taken for each, by column; void pixels are not counted."""
    count = len(CLASS_NAMES)
    valid = truth != VOID
    pairs = truth[valid].astype(np.int64) * count + predicted[valid]
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def ious(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union of each class; NaN for one that neither is there nor was predicted."""
    hits = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)
