"""Data: sources of images with masks or with objects, and the `tf.data` pipelines over them."""

from kseg.data.augment import Augment
from kseg.data.cells_source import CellsSource, cells
from kseg.data.check_folder import FolderReport, check_folder
from kseg.data.class_balanced_crop import ClassBalancedCrop
from kseg.data.coco import CocoReport, CocoSource, check_coco, from_coco, open_coco
from kseg.data.crop_place import CropPlace
from kseg.data.errors import DataError
from kseg.data.file_source import FileSource
from kseg.data.folder_source import FolderSource
from kseg.data.foreground_crop import ForegroundCrop
from kseg.data.from_folder import from_folder, open_folder
from kseg.data.instances import (
    CellInstancesSource,
    InstanceAugment,
    InstanceFolderSource,
    Instances,
    InstanceSource,
    InstanceSubset,
    SizeBuckets,
    cell_instances,
    from_instance_folder,
    instance_pipeline,
    instances_from_masks,
)
from kseg.data.layouts import (
    ADE20K,
    CAMVID,
    CITYSCAPES,
    COCO_STUFF,
    COCO_STUFF_182,
    VOC,
    ADE20KSource,
    CamVidSource,
    CityscapesSource,
    ClassTable,
    COCOStuffSource,
    LayoutSource,
    VOCSource,
    from_ade20k,
    from_camvid,
    from_cityscapes,
    from_coco_stuff,
    from_voc,
)
from kseg.data.otsu_watershed import otsu_watershed
from kseg.data.pipeline import pipeline
from kseg.data.reading import read_image, read_mask
from kseg.data.source import Source
from kseg.data.subset import Subset

__all__ = [
    "ADE20K",
    "CAMVID",
    "CITYSCAPES",
    "COCO_STUFF",
    "COCO_STUFF_182",
    "VOC",
    "ADE20KSource",
    "Augment",
    "COCOStuffSource",
    "CamVidSource",
    "CellInstancesSource",
    "CellsSource",
    "CityscapesSource",
    "ClassBalancedCrop",
    "ClassTable",
    "CocoReport",
    "CocoSource",
    "CropPlace",
    "DataError",
    "FileSource",
    "FolderReport",
    "FolderSource",
    "ForegroundCrop",
    "InstanceAugment",
    "InstanceFolderSource",
    "InstanceSource",
    "InstanceSubset",
    "Instances",
    "LayoutSource",
    "SizeBuckets",
    "Source",
    "Subset",
    "VOCSource",
    "cell_instances",
    "cells",
    "check_coco",
    "check_folder",
    "from_ade20k",
    "from_camvid",
    "from_cityscapes",
    "from_coco",
    "from_coco_stuff",
    "from_folder",
    "from_instance_folder",
    "from_voc",
    "instance_pipeline",
    "instances_from_masks",
    "open_coco",
    "open_folder",
    "otsu_watershed",
    "pipeline",
    "read_image",
    "read_mask",
]
