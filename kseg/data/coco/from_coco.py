"""A data set from an annotation file in COCO's format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from kseg.data.coco.coco_source import CocoSource
from kseg.data.instances.instance_pipeline import instance_pipeline


def from_coco(
    images_dir: str | Path,
    annotations_json: str | Path,
    batch_size: int = 2,
    *,
    categories: Sequence[int | str] | None = None,
    channels: int | None = 3,
    on_bad: str = "error",
    boxes_as_masks: bool = False,
    keep_empty: bool = True,
    check: bool = True,
    input_range: tuple[float, float] | None = None,
    **options,
) -> tf.data.Dataset:
    """A `tf.data.Dataset` of batches of images and their objects, from COCO's JSON.

    Args:
        images_dir: folder that `file_name` starts from.
        annotations_json: the annotation file: polygons, RLE and crowds.
        batch_size: images per batch.
        categories: ids or names of the categories to take, in the order of the classes; None takes all, by id.
        channels: 3 for RGB, 1 for luminance; None for what the first image has.
        on_bad: "error" raises one error that names what is wrong with the data; "skip" leaves such images and
            annotations out, with a warning that counts and names them.
        boxes_as_masks: take the box of an annotation that has no segmentation.
        keep_empty: keep images without an object.
        check: read the headers of all images before training.
        input_range: range of the sensor; None takes the dtype's.
        **options: of `kseg.data.instance_pipeline`: image_size, min_side, max_side, max_instances, augment, shuffle,
            seed, epoch, start_batch, cache, drop_remainder, fill.

    Returns:
        Data set of (images uint8 `(B, H, W, 3)`, targets), targets being a dict of padded "boxes", "classes", "masks"
        (a bit per pixel), "crowd", "sizes" and "image_ids"; see `kseg.data.instance_pipeline`.

    Raises:
        DataError: names each image and annotation with its problem; see `kseg.data.CocoSource`.
        TypeError, ValueError: an argument of another type or out of its range, named.

    Example:
        >>> augment = kseg.data.InstanceAugment(flip="horizontal", scale=(0.8, 1.25))
        >>> train = kseg.data.from_coco("images", "instances.json", 2, min_side=480, max_side=640, augment=augment,
        ...                             shuffle=True)
        >>> kseg.MaskRCNN(num_classes=3).fit(train, epochs=10)
    """
    source = CocoSource(
        images_dir,
        annotations_json,
        categories=categories,
        channels=channels,
        on_bad=on_bad,
        boxes_as_masks=boxes_as_masks,
        keep_empty=keep_empty,
        check=check,
        input_range=input_range,
    )
    return instance_pipeline(source, batch_size, **options)
