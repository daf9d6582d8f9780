"""Data: sources of image and mask pairs, and the `tf.data` pipeline over them."""

from kseg.data.augment import Augment
from kseg.data.cells_source import CellsSource, cells
from kseg.data.check_folder import FolderReport, check_folder
from kseg.data.errors import DataError
from kseg.data.folder_source import FolderSource
from kseg.data.from_folder import from_folder, open_folder
from kseg.data.otsu_watershed import otsu_watershed
from kseg.data.pipeline import pipeline
from kseg.data.reading import read_image, read_mask
from kseg.data.source import Source
from kseg.data.subset import Subset

__all__ = [
    "Augment",
    "CellsSource",
    "DataError",
    "FolderReport",
    "FolderSource",
    "Source",
    "Subset",
    "cells",
    "check_folder",
    "from_folder",
    "open_folder",
    "otsu_watershed",
    "pipeline",
    "read_image",
    "read_mask",
]
