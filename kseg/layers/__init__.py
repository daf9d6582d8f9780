"""Building blocks, usable in any Keras functional model."""

from kseg.layers.conv_block import ConvBlock
from kseg.layers.crop_to import CropTo
from kseg.layers.down_block import DownBlock
from kseg.layers.mask_nms import MaskNMS
from kseg.layers.native_layer import NativeLayer
from kseg.layers.normalize import Normalize
from kseg.layers.pad_to_stride import PadToStride
from kseg.layers.up_block import UpBlock

__all__ = ["ConvBlock", "CropTo", "DownBlock", "MaskNMS", "NativeLayer", "Normalize", "PadToStride", "UpBlock"]
