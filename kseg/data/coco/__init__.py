"""Data sets in COCO's JSON format."""

from kseg.data.coco.check_coco import CocoReport, check_coco
from kseg.data.coco.coco_source import CocoSource
from kseg.data.coco.from_coco import from_coco
from kseg.data.coco.open_coco import open_coco

__all__ = ["CocoReport", "CocoSource", "check_coco", "from_coco", "open_coco"]
