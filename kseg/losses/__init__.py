"""Losses on logits that honour void pixels."""

from kseg.losses.cross_entropy import CrossEntropy
from kseg.losses.dice import Dice
from kseg.losses.focal import Focal
from kseg.losses.segmentation_loss import SegmentationLoss
from kseg.losses.weighted_sum import WeightedSum

__all__ = ["CrossEntropy", "Dice", "Focal", "SegmentationLoss", "WeightedSum"]
