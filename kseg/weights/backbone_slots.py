"""torchvision's names of the tensors of backbones, which segmentation-models-pytorch has, too."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from kseg.backbones import Backbone
from kseg.weights.slots import Slot


@functools.singledispatch
def features_prefix(backbone: Backbone) -> str:
    """What torchvision's classification networks put before the names of the layers that make features."""
    return ""


@functools.singledispatch
def backbone_slots(backbone: Backbone, prefix: str) -> Iterator[Slot]:
    """The slots of a backbone.

    Args:
        backbone: of kseg.
        prefix: what the names begin with.

    Raises:
        TypeError: it has no published names.
    """
    raise TypeError(
        f"there are no published names for the backbone {backbone.name!r} of class {type(backbone).__name__}; one that "
        "was made with kseg.backbones.from_keras has its own library's weights"
    )
