"""Models, ready to fit."""

from kseg.models.segmentation_model import SegmentationModel
from kseg.models.segnet import SegNet
from kseg.models.unet import UNet

__all__ = ["SegNet", "SegmentationModel", "UNet"]
