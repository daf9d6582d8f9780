"""Image segmentation for Keras 3 on TensorFlow.

Importing kseg registers every Keras class that it has, so that ``keras.models.load_model`` needs nothing but
``import kseg``. Everything with further dependencies (data readers, plots, export) is imported when first used.
"""

from __future__ import annotations

import importlib

from kseg._backend import require_tensorflow

require_tensorflow()

from kseg import backbones, layers, losses, metrics, models  # noqa: E402  (the check above must come first)
from kseg.models import (  # noqa: E402
    FCN,
    FPN,
    LRASPP,
    AttentionUNet,
    DeepLabV3,
    DeepLabV3Plus,
    FasterRCNN,
    MaskRCNN,
    PSPNet,
    SegmentationModel,
    SegNet,
    UNet,
    UNetPlusPlus,
)

# The packages that a plain `import kseg` leaves alone: they pull in Pillow, matplotlib and the like.
_LAZY_MODULES = ("callbacks", "data", "exporting", "inference", "training", "viz", "weights")
_LAZY_FUNCTIONS = {
    "predict": ("kseg.inference.predict", "predict"),
    "predict_instances": ("kseg.inference.predict_instances", "predict_instances"),
    "export": ("kseg.exporting.export", "export"),
    "show_config": ("kseg._config", "show_config"),
}

__all__ = [
    "FCN",
    "FPN",
    "AttentionUNet",
    "DeepLabV3",
    "DeepLabV3Plus",
    "FasterRCNN",
    "MaskRCNN",
    "PSPNet",
    "LRASPP",
    "SegNet",
    "SegmentationModel",
    "UNet",
    "UNetPlusPlus",
    "backbones",
    "layers",
    "losses",
    "metrics",
    "models",
    *_LAZY_MODULES,
    *_LAZY_FUNCTIONS,
]


def __getattr__(name: str):
    if name in _LAZY_MODULES:
        return importlib.import_module(f"kseg.{name}")
    if name in _LAZY_FUNCTIONS:
        module, attribute = _LAZY_FUNCTIONS[name]
        value = getattr(importlib.import_module(module), attribute)
        globals()[name] = value
        return value
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("kseg")
        except PackageNotFoundError:  # run from a source tree that was never installed
            return "0+unknown"
    raise AttributeError(f"module 'kseg' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__, "__version__"})
