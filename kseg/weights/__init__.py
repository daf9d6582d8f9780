"""Published weights of torchvision and segmentation-models-pytorch."""

from kseg.weights.errors import WeightsError
from kseg.weights.load import LoadReport, load, source_of

__all__ = ["LoadReport", "WeightsError", "load", "source_of"]
