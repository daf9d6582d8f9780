"""Feature pyramids: networks from an image to `{"P1": ..., "P2": ...}`."""

from kseg.backbones.backbone import Backbone

__all__ = ["Backbone"]
