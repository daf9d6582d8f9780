from __future__ import annotations

import numpy as np
import pytest

from kseg.inference.tta import DIHEDRAL, FLIPS, symmetries


@pytest.mark.parametrize("symmetry", DIHEDRAL)
def test_undo_is_the_exact_inverse(symmetry):
    batch = np.arange(2 * 3 * 5 * 2).reshape(2, 3, 5, 2)
    np.testing.assert_array_equal(symmetry.undo(symmetry.apply(batch)), batch)


def test_the_symmetries_are_all_those_of_the_square():
    image = np.arange(9).reshape(1, 3, 3, 1)
    found = {symmetry.apply(image).tobytes() for symmetry in DIHEDRAL}
    turns = [np.rot90(image, k, axes=(1, 2)) for k in range(4)]
    expected = {np.ascontiguousarray(a).tobytes() for turn in turns for a in (turn, turn[:, ::-1])}
    assert found == expected
    assert len(found) == 8
    flips = {symmetry.apply(image).tobytes() for symmetry in FLIPS}
    assert flips == {np.ascontiguousarray(image[:, ::a, ::b]).tobytes() for a in (1, -1) for b in (1, -1)}


def test_names():
    assert len(symmetries(False)) == 1
    assert len(symmetries(True)) == 4
    assert symmetries("flips") == symmetries(True)
    assert len(symmetries("dihedral")) == 8
    with pytest.raises(ValueError, match='tta must be False, True, "flips" or "dihedral"; got 4'):
        symmetries(4)
