"""The engine of tiled prediction: tile row by tile row, with one strip of accumulators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kseg.inference.forward import Forward
from kseg.inference.image_input import read_block
from kseg.inference.scaled_axis import ScaledAxis, plan_scaled_axis
from kseg.inference.tiling import AxisTiles, plan_axis
from kseg.inference.tta import IDENTITY, Symmetry


@dataclass(frozen=True)
class Plan:
    """How one image will be predicted.

    Attributes:
        rows: tiles from top to bottom.
        columns: tiles from left to right.
        symmetries: the test-time augmentations; more than one makes the scores probabilities.
        scales: the scales; any but 1 alone makes the scores probabilities.
        scaled: of each scale the rows and columns of the rescaled image, `None` at scale 1.
    """

    rows: AxisTiles
    columns: AxisTiles
    symmetries: tuple[Symmetry, ...] = (IDENTITY,)
    scales: tuple[float, ...] = (1.0,)
    scaled: tuple[tuple[ScaledAxis, ScaledAxis] | None, ...] = (None,)

    @property
    def exact(self) -> bool:
        """Whether the result equals that of the whole image at once, up to rounding."""
        return self.rows.exact and self.columns.exact

    @property
    def is_whole(self) -> bool:
        """Whether the model sees the image once, whole and as it is, so that nothing is blended or averaged."""
        return len(self.rows) == len(self.columns) == 1 and not self.averages_probabilities

    @property
    def averages_probabilities(self) -> bool:
        """Whether the scores are probabilities (test-time augmentation) rather than logits."""
        return averages_probabilities(self.symmetries, self.scales)


def averages_probabilities(symmetries: tuple[Symmetry, ...], scales: tuple[float, ...]) -> bool:
    """Whether these augmentations give probabilities rather than logits."""
    return len(symmetries) > 1 or scales != (1.0,)


def make_plan(
    forward: Forward, shape: tuple[int, int], tile, overlap, symmetries=(IDENTITY,), scales: tuple[float, ...] = (1.0,)
) -> Plan:
    """Places the tiles of an image of `shape` (height, width).

    Raises:
        ValueError: tile, overlap or scales that cannot be, or that the model does not take.
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
    if scales != (1.0,) and spec.fixed_size != (None, None):
        raise ValueError(
            f"scales={scales} need a model that takes images of any size, but this one only takes {spec.fixed_size} "
            "(height, width). Leave scales out, or build the model with input_shape=(None, None, channels)."
        )
    scaled = tuple(None if scale == 1 else _scaled_axes(spec, axes, scale) for scale in scales)
    return Plan(*axes, tuple(symmetries), scales, scaled)


def _scaled_axes(spec, axes, scale):
    return tuple(
        plan_scaled_axis(tiles, scale, stride=spec.stride, radius=spec.radius, residue=spec.residue[axis])
        for axis, tiles in enumerate(axes)
    )


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
    tiles; of several scales one after the other, added up tile by tile.
    """
    rows, columns = plan.rows, plan.columns
    if len(rows) == len(columns) == 1:
        scores = _scores(forward, image, plan, 0, (0,))
        yield 0, scores[0, : rows.length, : columns.length]
        return
    row_weights, column_weights = rows.weights(), columns.weights()
    strip = np.zeros((rows.tile_out, columns.length, forward.spec.num_classes), np.float32)
    for index, first_row in enumerate(rows.starts):
        for batch in _batches(range(len(columns)), batch_size):
            scores = _scores(forward, image, plan, index, batch)
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


def _scores(forward, image, plan, row, columns):
    """Scores `(len(columns), tile_out, tile_out, num_classes)` of some tiles of one row of tiles."""
    if not plan.averages_probabilities:
        return forward(_blocks(image, plan, row, columns))
    total = None
    for scale, axes in zip(plan.scales, plan.scaled, strict=True):
        # A tile at scale 2 has four times the pixels: so many fewer are given to the model at once.
        for part in _batches(range(len(columns)), max(1, int(len(columns) / max(1.0, scale) ** 2))):
            chosen = [columns[k] for k in part]
            if axes is None:
                scores = _sum(forward, _blocks(image, plan, row, chosen), plan.symmetries)
            else:
                scores = _rescaled(forward, image, plan, axes, scale, row, chosen)
            if total is None:
                total = np.zeros((len(columns), *scores.shape[1:]), np.float32)
            total[part.start : part.stop] += scores
    total /= len(plan.symmetries) * len(plan.scales)
    return total


def _blocks(image, plan, row, columns):
    return np.stack([read_block(image, plan.rows.window(row), plan.columns.window(k)) for k in columns])


def _rescaled(forward, image, plan, axes, scale, row, columns):
    """The sum over the symmetries of the probabilities at one scale, resampled to the pixels of the tiles."""
    rows_of_image, to_rows = axes[0].source(row)
    blocks = []
    for k in columns:
        columns_of_image, to_columns = axes[1].source(k)
        blocks.append(to_columns(to_rows(read_block(image, rows_of_image, columns_of_image), 0), 1))
    try:
        scores = _sum(forward, np.stack(blocks), plan.symmetries)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"the model failed at scale {scale:g}, on parts of {axes[0].part_in}x{axes[1].part_in} pixels (height x "
            f"width) of the image at {axes[0].length}x{axes[1].length}. Models that only take multiples of their "
            f"stride need scales that give such images. TensorFlow says: {str(error).strip().splitlines()[0]}"
        ) from error
    from_rows = axes[0].result(row)
    return np.stack([axes[1].result(k)(from_rows(one, 0), 1) for one, k in zip(scores, columns, strict=True)])


def _sum(forward, blocks, symmetries):
    total = None
    for symmetry in symmetries:
        probabilities = symmetry.undo(to_probabilities(forward(symmetry.apply(blocks))))
        total = probabilities.copy() if total is None else np.add(total, probabilities, out=total)
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
