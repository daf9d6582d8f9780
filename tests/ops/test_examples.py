"""The examples in the docstrings of the operators give what they say."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library


def run_examples(name: str, text: str, names: dict) -> None:
    examples = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    assert examples.examples, f"{name} has no example"
    report: list[str] = []
    assert doctest.DocTestRunner().run(examples, out=report.append).failed == 0, "".join(report)


def functions(module) -> list[str]:
    return [name for name in module.__all__ if callable(getattr(module, name))]


@pytest.mark.parametrize("name", functions(kseg_ops))
def test_example(name):
    if name == "use_reference" and not _library.native_allowed():
        pytest.skip("KSEG_NATIVE=0: its example shows the compiled op going away")
    run_examples(name, getattr(kseg_ops, name).__doc__, {"tf": tf, "np": np, "kseg_ops": kseg_ops})


@pytest.mark.parametrize("name", functions(kseg_ops.numpy))
def test_example_of_the_numpy_form(name):
    if not _library.native_allowed():
        pytest.skip("KSEG_NATIVE=0: most NumPy forms have no reference")
    run_examples(name, getattr(kseg_ops.numpy, name).__doc__, {"np": np, "kseg_ops": kseg_ops, **vars(kseg_ops.numpy)})
