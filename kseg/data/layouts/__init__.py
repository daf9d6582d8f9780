"""Published data sets in the folders in which they come."""

from kseg.data.layouts.ade20k_source import ADE20K, ADE20KSource, from_ade20k
from kseg.data.layouts.camvid_source import CAMVID, CamVidSource, from_camvid
from kseg.data.layouts.cityscapes_source import CITYSCAPES, CityscapesSource, from_cityscapes
from kseg.data.layouts.class_table import ClassTable
from kseg.data.layouts.coco_stuff_source import COCO_STUFF, COCO_STUFF_182, COCOStuffSource, from_coco_stuff
from kseg.data.layouts.layout_source import LayoutSource
from kseg.data.layouts.voc_source import VOC, VOCSource, from_voc

__all__ = [
    "ADE20K",
    "CAMVID",
    "CITYSCAPES",
    "COCO_STUFF",
    "COCO_STUFF_182",
    "VOC",
    "ADE20KSource",
    "COCOStuffSource",
    "CamVidSource",
    "CityscapesSource",
    "ClassTable",
    "LayoutSource",
    "VOCSource",
    "from_ade20k",
    "from_camvid",
    "from_cityscapes",
    "from_coco_stuff",
    "from_voc",
]
