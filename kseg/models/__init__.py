"""Models, ready to fit."""

from kseg.models.lraspp import LRASPP
from kseg.models.segmentation_model import SegmentationModel
from kseg.models.segnet import SegNet
from kseg.models.unet import UNet

__all__ = ["LRASPP", "SegNet", "SegmentationModel", "UNet"]
