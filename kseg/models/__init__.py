"""Models, ready to fit."""

from kseg.models.segmentation_model import SegmentationModel
from kseg.models.unet import UNet

__all__ = ["SegmentationModel", "UNet"]
