"""What can be wrong with a COCO data set, and the sentences that say so."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

from kseg.data.errors import DataError

_EXAMPLES = 5


class Fault(NamedTuple):
    """A kind of fault.

    Attributes:
        what: the entries that have it, in the plural.
        fix: a sentence.
        harmless: training is right in spite of it, so it is a warning.
    """

    what: str
    fix: str
    harmless: bool = False


BAD_IMAGE = Fault("images without an integer id, a file_name, or whole and positive height and width", "Add them")
DUPLICATE_IMAGE = Fault(
    "ids of several images", "Give every image an id of its own, and correct image_id of its annotations"
)
MISSING_FILE = Fault("images whose file does not exist", "images_dir must be the folder that file_name starts from")
UNREADABLE_FILE = Fault("images that cannot be read", "Replace the files")
OTHER_SIZE = Fault(
    "images whose file has another size (height x width) than the annotations say",
    "The masks would lie beside their objects: take the images that were annotated, or scale the annotations",
)

BAD_ANNOTATION = Fault("annotations without an integer id, image_id or category_id, or iscrowd 0 or 1", "Add them")
DUPLICATE_ANNOTATION = Fault(
    "annotations whose id another one has", "Are files merged, or objects there twice? Give each an id of its own"
)
UNKNOWN_IMAGE = Fault("annotations of an image that is not listed", "Add the image, or remove the annotation")
UNKNOWN_CATEGORY = Fault(
    "annotations of a category that is not listed", "Add it to the categories, or correct category_id"
)
NO_SEGMENTATION = Fault(
    "annotations without a segmentation",
    "Pass boxes_as_masks=True (--model faster-rcnn) to take their boxes, which trains boxes only",
)
BAD_SEGMENTATION = Fault(
    "annotations whose segmentation is neither polygons nor RLE",
    "Polygons are lists of numbers in a list, [[x1, y1, x2, y2, ...], ...]; RLE is {'size': [H, W], 'counts': ...}",
)
ODD_COORDINATES = Fault("annotations with an odd number of coordinates", "A polygon is x and y in turn")
FEW_POINTS = Fault("annotations with a polygon of fewer than three points", "Three points make the smallest polygon")
NOT_FINITE = Fault("annotations with coordinates that are NaN, infinite or beyond all images", "Correct them")
OUTSIDE = Fault(
    "annotations that lie outside their image", "Is it the right image, and are boxes x, y, width, height in pixels?"
)
BAD_BOX = Fault(
    "annotations whose bbox is not four numbers, the last two at least 0", "It is [x, y, width, height] in pixels"
)
BAD_RLE = Fault("annotations whose RLE does not fit their image", "Encode the masks at the size of the image")

NO_AREA = Fault("polygons without area, which are left out", "They are points or lines", harmless=True)
NO_PIXEL = Fault("RLE masks without a pixel, which are left out", "They are empty", harmless=True)
CUT_OFF = Fault(
    "annotations that reach beyond their image by more than a pixel", "They are cut off at its edge", harmless=True
)


class Findings:
    """The faults of a file, counted, with the first of each kind.

    Args:
        path: the annotation file.
    """

    def __init__(self, path: Path):
        self.path = path
        self._found: dict[Fault, tuple[int, list[str]]] = {}

    def add(self, fault: Fault, who: str) -> None:
        """One more entry with a fault; `who` names it."""
        count, examples = self._found.get(fault, (0, []))
        if count < _EXAMPLES:
            examples.append(who)
        self._found[fault] = count + 1, examples

    def sentences(self, harmless: bool) -> list[str]:
        """One per kind of fault."""
        return [
            f"{fault.what} ({count}): {_with_rest(examples, count)}. {fault.fix}"
            for fault, (count, examples) in self._found.items()
            if fault.harmless == harmless
        ]

    def report(self, skip: bool, stacklevel: int) -> None:
        """Raises or warns.

        Raises:
            DataError: with every fault that is not harmless, unless `skip`.
        """
        problems = self.sentences(harmless=False)
        if problems and not skip:
            lines = "\n".join(f"- {problem}" for problem in problems)
            raise DataError(
                f"{self.path} has\n{lines}\nCorrect it, or pass on_bad='skip' (--on-bad skip) to leave these images "
                "and annotations out"
            )
        for text in [f"left out: {problem}" for problem in problems] + self.sentences(harmless=True):
            warnings.warn(f"{self.path}: {text}", stacklevel=stacklevel + 1)


def _with_rest(examples: list[str], count: int) -> str:
    more = count - len(examples)
    return ", ".join(examples) + (f" and {more} more" if more else "")
