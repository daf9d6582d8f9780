"""Models as SavedModels for serving.

`kseg.export` is `kseg.exporting.export`.
"""

from kseg.exporting.export import Export, export

__all__ = ["Export", "export"]
