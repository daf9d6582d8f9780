"""Data sets of objects: sources, augmentation, and the `tf.data` pipeline over them."""

from kseg.data.instances.cell_instances import CellInstancesSource, cell_instances
from kseg.data.instances.instance_augment import InstanceAugment
from kseg.data.instances.instance_folder_source import InstanceFolderSource, from_instance_folder
from kseg.data.instances.instance_pipeline import instance_pipeline
from kseg.data.instances.instance_source import InstanceSource
from kseg.data.instances.instance_subset import InstanceSubset
from kseg.data.instances.instances import Instances
from kseg.data.instances.instances_from_masks import instances_from_masks
from kseg.data.instances.size_buckets import SizeBuckets

__all__ = [
    "CellInstancesSource",
    "InstanceAugment",
    "InstanceFolderSource",
    "InstanceSource",
    "InstanceSubset",
    "Instances",
    "SizeBuckets",
    "cell_instances",
    "from_instance_folder",
    "instance_pipeline",
    "instances_from_masks",
]
