"""Feature pyramids: networks from an image to `{"P1": ..., "P2": ...}`."""

from kseg.backbones.backbone import Backbone
from kseg.backbones.mobilenet_v3 import MobileNetV3
from kseg.backbones.resnet import ResNet
from kseg.backbones.vgg import VGG

__all__ = ["VGG", "Backbone", "MobileNetV3", "ResNet"]
