"""Prediction on images of any size, on files and on folders.

`kseg.predict` is `kseg.inference.predict`, `kseg.predict_instances` is `kseg.inference.predict_instances`.
"""

from kseg.inference.detect_files import detect_files
from kseg.inference.detections import Detections
from kseg.inference.file_result import FileResult
from kseg.inference.predict import predict, predict_rows
from kseg.inference.predict_files import list_images, predict_files
from kseg.inference.predict_instances import predict_instances
from kseg.inference.tiling_difference import TilingDifference, tiling_difference

__all__ = [
    "Detections",
    "FileResult",
    "TilingDifference",
    "detect_files",
    "list_images",
    "predict",
    "predict_files",
    "predict_instances",
    "predict_rows",
    "tiling_difference",
]
