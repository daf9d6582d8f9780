"""The engine of tiled prediction: tile row by tile row, with one strip of accumulators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kseg.inference.forward import Forward
from kseg.inference.image_input import read_block
from kseg.inference.tiling import AxisTiles, plan_axis
from kseg.inference.tta import IDENTITY, Symmetry


@dataclass(frozen=True)
class Plan:
    """How one image will be predicted.

    Attributes:
        rows: tiles from top to bottom.
        columns: tiles from left to right.
        symmetries: the test-time augmentations; more than one makes the scores probabilities.
    """

    rows: AxisTiles
    columns: AxisTiles
    symmetries: tuple[Symmetry, ...] = (IDENTITY,)

    @property
    def exact(self) -> bool:
        """Whether the result equals that of the whole image at once, up to rounding."""
        return self.rows.exact and self.columns.exact

    @property
    def is_whole(self) -> bool:
        """Whether the model sees the image once, whole, so that nothing is blended or averaged."""
        return len(self.rows) == len(self.columns) == len(self.symmetries) == 1

    @property
    def averages_probabilities(self) -> bool:
        """Whether the scores are probabilities (test-time augmentation) rather than logits."""
        return len(self.symmetries) > 1


def make_plan(forward: Forward, shape: tuple[int, int], tile, overlap, symmetries=(IDENTITY,)) -> Plan:
    """Places the tiles of an image of `shape` (height, width).

    Raises:
        ValueError: tile or overlap that cannot be, or that the model does not take.
    """
    spec = forward.spec
    tiles = _pair("tile", tile, 1) if tile is not None else (None, None)
    overlaps = _pair("overlap", overlap, 0) if overlap is not None else (None, None)
    axes = []
    for axis, name in enumerate(("height", "width")):
        fixed = spec.fixed_size[axis]
        if fixed is not None and tiles[axis] not in (None, fixed):
            raise ValueError(
                f"tile {name} must be {fixed}, the only one that this model takes; got {tiles[axis]}. "
                "Leave tile out, or build the model with input_shape=(None, None, channels)."
            )
        axes.append(
            plan_axis(
                shape[axis],
                tiles[axis],
                overlaps[axis],
                axis_name=name,
                stride=spec.stride,
                radius=spec.radius,
                margin=spec.margins[axis],
                residue=spec.residue[axis],
                fixed=fixed,
            )
        )
    if any(s.transpose for s in symmetries) and len(set(spec.fixed_size)) == 2:
        raise ValueError(f'tta="dihedral" turns tiles, but this model only takes {spec.fixed_size}. Use tta="flips".')
    return Plan(*axes, tuple(symmetries))


def _pair(name, value, least):
    values = value if isinstance(value, (tuple, list)) else (value, value)
    whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in values)
    if len(values) != 2 or not whole or min(values) < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}, or a pair (height, width) of such; got {value!r}."
        )
    return tuple(int(v) for v in values)


def strips(forward: Forward, image: np.ndarray, plan: Plan, batch_size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yields `(first_row, scores)` from top to bottom, scores float32 `(n, W, num_classes)`.

    Scores are blended logits, or blended mean probabilities with test-time augmentation. Each array is only valid until
    the next one is asked for. Held at any time: one strip of `tile height x W x num_classes` floats, and `batch_size`
    tiles.
    """
    rows, columns = plan.rows, plan.columns
    if len(rows) == len(columns) == 1:
        scores = _scores(forward, read_block(image, rows.window(0), columns.window(0))[np.newaxis], plan.symmetries)
        yield 0, scores[0, : rows.length, : columns.length]
        return
    row_weights, column_weights = rows.weights(), columns.weights()
    strip = np.zeros((rows.tile_out, columns.length, forward.spec.num_classes), np.float32)
    for index, first_row in enumerate(rows.starts):
        for batch in _batches(range(len(columns)), batch_size):
            blocks = np.stack([read_block(image, rows.window(index), columns.window(k)) for k in batch])
            scores = _scores(forward, blocks, plan.symmetries)
            for tile, k in zip(scores, batch, strict=True):
                left, right = columns.starts[k], min(columns.starts[k] + columns.tile_out, columns.length)
                weights = row_weights[index][:, np.newaxis] * column_weights[k][: right - left]
                strip[:, left:right] += tile[:, : right - left] * weights[..., np.newaxis]
        finished = (rows.starts[index + 1] if index + 1 < len(rows) else rows.length) - first_row
        yield first_row, strip[:finished]
        _scroll(strip, finished)


def whole_classes(forward: Forward, image: np.ndarray, plan: Plan) -> np.ndarray:
    """The classes `(H, W)` of an image whose plan `is_whole`, by a model that upsamples."""
    blocks = read_block(image, plan.rows.window(0), plan.columns.window(0))[np.newaxis]
    symmetry = plan.symmetries[0]
    classes = symmetry.undo(forward.classes(symmetry.apply(blocks))[..., np.newaxis])
    return classes[0, : plan.rows.length, : plan.columns.length, 0]


def _scroll(strip, finished):
    """Moves the unfinished rows to the top. In pieces that do not overlap, so that NumPy needs no temporary copy."""
    height = len(strip)
    for first in range(finished, height, finished):
        piece = strip[first : first + finished]
        strip[first - finished : first - finished + len(piece)] = piece
    strip[max(0, height - finished) :] = 0.0


def _batches(items, size):
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _scores(forward, blocks, symmetries):
    if len(symmetries) == 1:
        return symmetries[0].undo(forward(symmetries[0].apply(blocks)))
    total = None
    for symmetry in symmetries:
        probabilities = symmetry.undo(to_probabilities(forward(symmetry.apply(blocks))))
        total = probabilities.copy() if total is None else np.add(total, probabilities, out=total)
    total /= len(symmetries)
    return total


def to_probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, or the sigmoid where it has length 1; float32, computed without overflow."""
    if logits.shape[-1] == 1:
        # Both branches of the usual stable form in one: exp only ever sees numbers up to 0.
        small = np.exp(-np.abs(logits))
        return np.where(logits >= 0, 1.0 / (1.0 + small), small / (1.0 + small)).astype(np.float32)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=-1, keepdims=True)
    return shifted


def to_classes(scores: np.ndarray, dtype: np.dtype, probabilities: bool) -> np.ndarray:
    """Class per pixel: the largest score (lowest index on a tie); of one channel, 1 where the logit is above 0."""
    if scores.shape[-1] == 1:
        return (scores[..., 0] > (0.5 if probabilities else 0.0)).astype(dtype)
    return np.argmax(scores, axis=-1).astype(dtype)
