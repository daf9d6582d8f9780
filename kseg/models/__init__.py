"""Models, ready to fit."""

from kseg.models.attention_unet import AttentionUNet
from kseg.models.deeplabv3 import DeepLabV3
from kseg.models.deeplabv3plus import DeepLabV3Plus
from kseg.models.faster_rcnn import FasterRCNN
from kseg.models.fcn import FCN
from kseg.models.fpn import FPN
from kseg.models.lraspp import LRASPP
from kseg.models.mask_rcnn import MaskRCNN
from kseg.models.pspnet import PSPNet
from kseg.models.segmentation_model import SegmentationModel
from kseg.models.segnet import SegNet
from kseg.models.unet import UNet
from kseg.models.unetplusplus import UNetPlusPlus

__all__ = [
    "FCN",
    "FPN",
    "LRASPP",
    "AttentionUNet",
    "DeepLabV3",
    "DeepLabV3Plus",
    "FasterRCNN",
    "MaskRCNN",
    "PSPNet",
    "SegNet",
    "SegmentationModel",
    "UNet",
    "UNetPlusPlus",
]
