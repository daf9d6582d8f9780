"""A batch of targets and predictions, checked and taken apart into instances."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import kseg_ops
from kseg.metrics.coco_instances import Instances, make_instances
from kseg_ops import rle


class BatchReader:
    """Turns the padded arrays of a batch into instances.

    Args:
        num_classes: Classes must be below; None: any number.
        masks: Whether masks are needed.
        threshold: Of the probabilities of mask crops.
        paste_mode: How crops are pasted: see `kseg_ops.paste_masks`.
    """

    def __init__(self, num_classes: int | None, masks: bool, threshold: float, paste_mode: str):
        self.num_classes = num_classes
        self.masks = masks
        self.threshold = threshold
        self.paste_mode = paste_mode

    def read(
        self, targets: Mapping, predictions: Mapping, first_image: int
    ) -> tuple[Instances, Instances, list | None]:
        """Ground truth, detections and the images' ids, None where there are none; images count from `first_image`."""
        for name, value in (("targets", targets), ("predictions", predictions)):
            if not isinstance(value, Mapping):
                raise TypeError(f"{name} must be a dictionary of arrays, got {type(value).__name__}")
        truths = _Side("targets", targets, self.num_classes)
        found = _Side("predictions", predictions, self.num_classes)
        batch = truths.classes.shape[0]
        if found.classes.shape[0] != batch:
            raise ValueError(
                f"targets and predictions must have one batch size, got {batch} and {found.classes.shape[0]}"
            )
        sizes = _sizes(truths, found, self.masks)
        crowd = np.zeros(truths.classes.shape, bool)
        if "crowd" in targets:
            crowd = truths.array("crowd", truths.classes.shape, "biu") != 0
        truth_rles = truths.packed_masks(sizes) if self.masks else None
        instances = truths.instances(
            first_image,
            areas=self._areas(truths, sizes, truth_rles),
            crowd=crowd[truths.valid],
            rles=truth_rles,
        )
        scores = found.array("scores", found.classes.shape, "fiu").astype(np.float64)[found.valid]
        if not np.isfinite(scores).all():
            raise ValueError(f'predictions["scores"] must be finite, got {scores[~np.isfinite(scores)][0]}')
        rles = self._predicted_masks(found, sizes) if self.masks else None
        areas = None if rles is None else rle.area(rles).astype(np.float64)
        detections = found.instances(first_image, areas=areas, scores=scores, rles=rles)
        return instances, detections, _image_ids(targets, batch)

    def _areas(self, truths: _Side, sizes, rles) -> np.ndarray:
        """As they are given, of the masks where there are any, or of the boxes."""
        if "areas" in truths.values:
            areas = truths.array("areas", truths.classes.shape, "fiu").astype(np.float64)[truths.valid]
            if not np.isfinite(areas).all():
                raise ValueError(f'targets["areas"] must be finite, got {areas[~np.isfinite(areas)][0]}')
            return areas
        if rles is None and "masks" in truths.values:
            rles = truths.packed_masks(sizes)
        if rles is not None:
            return rle.area(rles).astype(np.float64)
        sides = truths.boxes[:, 2:]
        return sides[:, 0] * sides[:, 1]

    def _predicted_masks(self, found: _Side, sizes: np.ndarray) -> list[dict]:
        masks = found.get("masks")
        if masks.dtype == np.uint8:
            return found.packed_masks(sizes)
        if masks.dtype.kind != "f" and masks.dtype.name != "bfloat16":
            raise TypeError(
                'predictions["masks"] must be floats (probabilities in the boxes\' frames) or uint8 (bit-packed masks '
                f"of the image), got {masks.dtype}"
            )
        found.check_shape("masks", masks, (*found.classes.shape, None, None))
        boxes = found.get("boxes").astype(np.float32)
        rles = []
        for index, size in enumerate(sizes.tolist()):
            valid = found.valid[index]
            counts = kseg_ops.paste_masks(
                masks[index][valid].astype(np.float32),
                boxes[index][valid],
                tuple(size),
                threshold=self.threshold,
                mode=self.paste_mode,
                output="rle",
            )
            runs = np.split(counts.values.numpy().astype(np.int64), counts.row_splits.numpy()[1:-1])
            rles += rle.from_counts(runs, size) if valid.any() else []
        return rles


class _Side:
    """Targets or predictions."""

    def __init__(self, name: str, values: Mapping, num_classes: int | None):
        self.name = name
        self.values = values
        classes = self.get("classes")
        if classes.dtype.kind not in "iu":
            raise TypeError(f'{name}["classes"] must be integers, got {classes.dtype}')
        self.check_shape("classes", classes, (None, None))
        self.classes = classes.astype(np.int64)
        self.valid = self.classes != -1
        wrong = self.valid & ((self.classes < 0) | (self.classes >= (num_classes or 2**31)))
        if wrong.any():
            most = "" if num_classes is None else f" to {num_classes - 1}"
            raise ValueError(
                f'{name}["classes"] must be 0{most or " or above"}, or -1 for padding, got {self.classes[wrong][0]}'
            )
        given = self.array("boxes", (*self.classes.shape, 4), "fiu")
        if given.dtype.itemsize < 4 and given.dtype.kind not in "iu":
            raise TypeError(
                f'{name}["boxes"] must be float32, got {given.dtype}, which cannot hold pixel coordinates; keep boxes '
                "out of mixed precision"
            )
        corners = given.astype(np.float64)[self.valid]
        if not np.isfinite(corners).all():
            raise ValueError(f'{name}["boxes"] must be finite where classes is not -1, got a box that is not')
        sides = corners[:, 2:] - corners[:, :2]
        # A detection may be anything; an inverted one covers nothing.
        self.boxes = np.concatenate([corners[:, :2], np.maximum(sides, 0)], axis=1)

    def get(self, key: str) -> np.ndarray:
        if key not in self.values:
            raise ValueError(f"{self.name} must have {key!r}, got the keys {sorted(map(str, self.values))}")
        try:
            return np.asarray(self.values[key])
        except (NotImplementedError, TypeError, ValueError) as error:
            raise TypeError(
                f"{self.name}[{key!r}] must be an array or an eager tensor, got {type(self.values[key]).__name__}; "
                "inside a tf.function there are no values to count: call update_state outside of it"
            ) from error

    def array(self, key: str, shape: tuple, kinds: str) -> np.ndarray:
        """An array of that shape and of one of those kinds of numbers."""
        array = self.get(key)
        if array.dtype.kind not in kinds and not ("f" in kinds and array.dtype.name == "bfloat16"):
            expected = "bools or integers" if "b" in kinds else "numbers" if "f" in kinds else "integers"
            raise TypeError(f"{self.name}[{key!r}] must be {expected}, got {array.dtype}")
        self.check_shape(key, array, shape)
        return array

    def check_shape(self, key: str, array: np.ndarray, shape: tuple) -> None:
        if array.ndim != len(shape) or any(
            want not in (None, got) for want, got in zip(shape, array.shape, strict=True)
        ):
            wanted = ", ".join("any" if extent is None else str(extent) for extent in shape)
            raise ValueError(f"{self.name}[{key!r}] must have shape ({wanted}), got {array.shape}")

    def packed_masks(self, sizes: np.ndarray) -> list[dict]:
        """RLEs of the valid masks, cut to their images' sizes."""
        masks = self.get("masks")
        if masks.dtype != np.uint8:
            raise TypeError(
                f'{self.name}["masks"] must be uint8, packed by kseg_ops.pack_masks, got {masks.dtype}; '
                "kseg_ops.pack_masks(masks) packs dense ones"
            )
        self.check_shape("masks", masks, (*self.classes.shape, None, None))
        rles = []
        for index, (height, width) in enumerate(sizes.tolist()):
            if height > masks.shape[2] or width > 8 * masks.shape[3]:
                raise ValueError(
                    f'{self.name}["masks"] must hold the image\'s {height} x {width} pixels, got {masks.shape[2]} rows '
                    f"of {masks.shape[3]} bytes"
                )
            cut = masks[index][self.valid[index]][:, :height, : (width + 7) // 8]
            rles += rle.encode_packed(cut, width)
        return rles

    def instances(self, first_image: int, **parts) -> Instances:
        images = first_image + np.nonzero(self.valid)[0]
        return make_instances(images, self.classes[self.valid], self.boxes, **parts)


def _sizes(truths: _Side, found: _Side, masks: bool) -> np.ndarray | None:
    """Height and width of each image, int64 `(B, 2)`; None where nothing says and nobody asks."""
    batch = truths.classes.shape[0]
    if "sizes" in truths.values:
        sizes = truths.array("sizes", (batch, 2), "iu").astype(np.int64)
        if (sizes < 0).any():
            raise ValueError(f'targets["sizes"] must not be negative, got {sizes.min()}')
        return sizes
    if "masks" not in truths.values and not masks:
        return None
    packed = truths.get("masks")
    truths.check_shape("masks", packed, (*truths.classes.shape, None, None))
    return np.tile(np.array([packed.shape[2], 8 * packed.shape[3]], np.int64), (batch, 1))


def _image_ids(targets: Mapping, batch: int) -> list[int] | None:
    if "image_ids" not in targets:
        return None
    ids = np.asarray(targets["image_ids"])
    if ids.dtype.kind not in "iu" or ids.shape != (batch,):
        raise ValueError(f'targets["image_ids"] must be integers of shape ({batch},), got {ids.dtype} {ids.shape}')
    return ids.tolist()
