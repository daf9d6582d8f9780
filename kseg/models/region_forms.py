"""The forms that a detector's heads come in."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class RegionForm:
    """What differs between the forms.

    Attributes:
        norm: the normalisation in the pyramid and after the convolutions of the heads.
        rpn_depth: how many 3 x 3 convolutions the region proposal network has.
        box_convolutions: how many the box head has.
        box_units: how many dense layers follow them.
    """

    norm: str | None
    rpn_depth: int
    box_convolutions: int
    box_units: int


FORMS = {
    "v1": RegionForm(norm=None, rpn_depth=1, box_convolutions=0, box_units=2),
    "v2": RegionForm(norm="batch", rpn_depth=2, box_convolutions=4, box_units=1),
}


def form_of(name) -> RegionForm:
    """The form of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in FORMS:
        raise ValueError(f"form must be one of {', '.join(map(repr, FORMS))}; got {name!r}")
    return FORMS[name]
