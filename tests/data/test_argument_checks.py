"""What is not checked would train on nonsense, or fail far from its cause."""

from __future__ import annotations

import numpy as np
import pytest

from kseg.data import DataError, FolderSource, Source, check_folder, from_folder, pipeline
from tests.helpers.data_files import write_folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = write_folder(tmp_path_factory.mktemp("data"), count=2)
    return root / "images", root / "masks"


@pytest.mark.parametrize(
    ("argument", "value", "error", "text"),
    [
        ("num_classes", 0, ValueError, "num_classes must be an integer from 1 to 65536, got 0"),
        ("num_classes", -1, ValueError, "num_classes must be an integer from 1 to 65536, got -1"),
        ("num_classes", 2_000_000_000, ValueError, "num_classes must be an integer from 1 to 65536, got 2000000000"),
        ("num_classes", 2.0, TypeError, r"num_classes must be an integer from 1 to 65536, got 2\.0"),
        ("num_classes", True, TypeError, "num_classes must be an integer from 1 to 65536, got True"),
        ("channels", 0, ValueError, "channels must be an integer of at least 1, or None, got 0"),
        ("ignore_index", 0, ValueError, r"ignore_index=0 is one of the classes 0\.\.1: expected a value outside"),
        ("ignore_index", 1.5, TypeError, r"ignore_index must be an integer that is no class, or None, got 1\.5"),
        ("input_range", (0, 0), ValueError, r"input_range must be \(lowest, highest\), .* got \(0, 0\)"),
        ("input_range", (0, np.inf), ValueError, r"input_range must be .* finite numbers .* got \(0, inf\)"),
        ("input_range", 5, TypeError, r"input_range must be \(lowest, highest\), .* got 5"),
        ("input_range", ("a", "b"), TypeError, r"input_range must be .* got \('a', 'b'\)"),
        ("mask_suffix", None, TypeError, "mask_suffix must be text, such as '_mask' .* got None"),
        ("mask_values", {}, ValueError, r"mask_values must name at least one stored value, .* got \{\}"),
        ("mask_values", {0: 1.7}, TypeError, r"class numbers \(integers\) as values, got 0: 1\.7"),
        ("mask_values", {"0": 1}, TypeError, r"integers or colours \(tuples of integers\) as keys, got '0'"),
        ("mask_values", {0: 2**40}, ValueError, "class numbers as values, got 0: 1099511627776"),
        ("mask_values", [0, 1], TypeError, r"mask_values must be a dict .* got \[0, 1\]"),
    ],
)
def test_arguments_of_folders(folders, argument, value, error, text):
    for function in (FolderSource, check_folder, lambda *args, **kwargs: from_folder(*args, 2, **kwargs)):
        with pytest.raises(error, match=text):
            function(*folders, **{argument: value})


def test_class_names_are_a_sequence_of_texts(folders):
    for value, error, text in (
        ("ab", TypeError, "class_names must be a sequence of texts, one per class, got 'ab'"),
        (["a", "a"], ValueError, "class_names must hold different names, got 'a' more than once"),
        ([], ValueError, "class_names must hold one name per class, got none"),
    ):
        with pytest.raises(error, match=text):
            FolderSource(*folders, class_names=value)


def test_numpy_numbers_are_numbers(folders):
    source = FolderSource(*folders, num_classes=np.int64(3), ignore_index=np.uint8(255), input_range=np.array([0, 255]))
    assert source.num_classes == 3


def test_an_ignored_label_among_the_inferred_classes(folders):
    # The masks hold 0, 1 and 2; ignoring 2 leaves two classes, and 2 lies outside of them.
    assert FolderSource(*folders, ignore_index=2).num_classes == 2
    with pytest.raises(ValueError, match=r"ignore_index=2 is one of the classes 0\.\.2"):
        FolderSource(*folders, ignore_index=2, num_classes=3)
    with pytest.raises(DataError, match=r"ignore_index=3 is one of the classes 0\.\.5 that the masks in .* hold"):
        FolderSource(*folders, ignore_index=3, mask_values={0: 0, 1: 1, 2: 5})


@pytest.mark.parametrize(
    ("argument", "value", "text"),
    [
        ("shuffle", "yes", "shuffle must be True or False, got 'yes'"),
        ("cache", 1, "cache must be True or False, got 1"),
        ("drop_remainder", None, "drop_remainder must be True or False, got None"),
        ("augment", "foo", r"augment must be a kseg\.data\.Augment, another callable or None, got 'foo'"),
    ],
)
def test_arguments_of_the_pipeline(folders, argument, value, text):
    with pytest.raises(TypeError, match=text):
        from_folder(*folders, 2, **{argument: value})


def test_batch_size_is_a_number(folders):
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got many"):
        pipeline(FolderSource(*folders), "many")


def test_sources_of_ones_own_have_a_number_of_classes():
    with pytest.raises(ValueError, match="num_classes must be an integer from 1 to 65536, got 2000000000"):
        Source(channels=1, num_classes=2_000_000_000)
