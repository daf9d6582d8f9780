"""Losses on logits that honour void pixels."""

from kseg.losses.boundary import Boundary
from kseg.losses.class_weights_from_data import class_weights_from_data
from kseg.losses.cross_entropy import CrossEntropy
from kseg.losses.deep_supervision import DeepSupervision
from kseg.losses.dice import Dice
from kseg.losses.focal import Focal
from kseg.losses.focal_tversky import FocalTversky
from kseg.losses.hausdorff import Hausdorff
from kseg.losses.jaccard import Jaccard
from kseg.losses.lovasz_hinge import LovaszHinge
from kseg.losses.lovasz_softmax import LovaszSoftmax
from kseg.losses.online_hard_pixels import OnlineHardPixels
from kseg.losses.segmentation_loss import SegmentationLoss
from kseg.losses.tversky import Tversky
from kseg.losses.weighted_sum import WeightedSum
from kseg.losses.with_distance_maps import with_distance_maps

__all__ = [
    "Boundary",
    "CrossEntropy",
    "DeepSupervision",
    "Dice",
    "Focal",
    "FocalTversky",
    "Hausdorff",
    "Jaccard",
    "LovaszHinge",
    "LovaszSoftmax",
    "OnlineHardPixels",
    "SegmentationLoss",
    "Tversky",
    "WeightedSum",
    "class_weights_from_data",
    "with_distance_maps",
]
