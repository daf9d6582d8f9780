"""Published weights of torchvision and segmentation-models-pytorch."""

from kseg.weights.errors import WeightsError
from kseg.weights.load import LoadReport, library_of, load

__all__ = ["LoadReport", "WeightsError", "library_of", "load"]
