"""Building blocks, usable in any Keras functional model."""

from kseg.layers.anchor_generator import AnchorGenerator
from kseg.layers.aspp import ASPP
from kseg.layers.atrous_conv2d import AtrousConv2D
from kseg.layers.atrous_separable_conv2d import AtrousSeparableConv2D
from kseg.layers.attention_gate import AttentionGate
from kseg.layers.bilinear_initializer import BilinearInitializer
from kseg.layers.box_head import BoxHead
from kseg.layers.conv_block import ConvBlock
from kseg.layers.conv_norm2d import ConvNorm2D
from kseg.layers.crop_to import CropTo
from kseg.layers.depthwise_conv_norm2d import DepthwiseConvNorm2D
from kseg.layers.detection_postprocess import DetectionPostprocess
from kseg.layers.down_block import DownBlock
from kseg.layers.feature_pyramid import FeaturePyramid
from kseg.layers.inverted_residual import InvertedResidual
from kseg.layers.mask_head import MaskHead
from kseg.layers.mask_nms import MaskNMS
from kseg.layers.max_pooling_with_indices2d import MaxPoolingWithIndices2D
from kseg.layers.max_unpooling2d import MaxUnpooling2D
from kseg.layers.multilevel_roi_align import MultilevelRoIAlign
from kseg.layers.native_layer import NativeLayer
from kseg.layers.non_max_suppression import NonMaxSuppression
from kseg.layers.normalize import Normalize
from kseg.layers.pad_to_stride import PadToStride
from kseg.layers.padded_max_pooling2d import PaddedMaxPooling2D
from kseg.layers.proposal_layer import ProposalLayer
from kseg.layers.pyramid_pooling import PyramidPooling
from kseg.layers.residual_block import ResidualBlock
from kseg.layers.resize_to import ResizeTo
from kseg.layers.roi_align import RoIAlign
from kseg.layers.rpn_head import RPNHead
from kseg.layers.skip_up_block import SkipUpBlock
from kseg.layers.squeeze_excitation import SqueezeExcitation
from kseg.layers.target_sampler import TargetSampler
from kseg.layers.up_block import UpBlock

__all__ = [
    "ASPP",
    "AnchorGenerator",
    "AtrousConv2D",
    "AtrousSeparableConv2D",
    "AttentionGate",
    "BilinearInitializer",
    "BoxHead",
    "ConvBlock",
    "ConvNorm2D",
    "CropTo",
    "DepthwiseConvNorm2D",
    "DetectionPostprocess",
    "DownBlock",
    "FeaturePyramid",
    "InvertedResidual",
    "MaskHead",
    "MaskNMS",
    "MaxPoolingWithIndices2D",
    "MaxUnpooling2D",
    "MultilevelRoIAlign",
    "NativeLayer",
    "NonMaxSuppression",
    "Normalize",
    "PadToStride",
    "PaddedMaxPooling2D",
    "ProposalLayer",
    "PyramidPooling",
    "RPNHead",
    "ResidualBlock",
    "ResizeTo",
    "RoIAlign",
    "SkipUpBlock",
    "SqueezeExcitation",
    "TargetSampler",
    "UpBlock",
]
