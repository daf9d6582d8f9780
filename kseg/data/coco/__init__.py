"""Data sets in COCO's JSON format."""

from kseg.data.coco.check_coco import CocoReport, check_coco, check_images
from kseg.data.coco.coco_source import CocoSource
from kseg.data.coco.from_coco import from_coco
from kseg.data.coco.open_coco import coco_parts, is_coco_folder, open_coco

__all__ = [
    "CocoReport",
    "CocoSource",
    "check_coco",
    "check_images",
    "coco_parts",
    "from_coco",
    "is_coco_folder",
    "open_coco",
]
