"""Feature pyramids: networks from an image to `{"P1": ..., "P2": ...}`."""

from kseg.backbones.backbone import Backbone
from kseg.backbones.from_keras import from_keras
from kseg.backbones.keras_backbone import KerasBackbone
from kseg.backbones.mobilenet_v3 import MobileNetV3
from kseg.backbones.resnet import ResNet
from kseg.backbones.vgg import VGG
from kseg.backbones.xception import Xception

__all__ = ["VGG", "Backbone", "KerasBackbone", "MobileNetV3", "ResNet", "Xception", "from_keras"]
