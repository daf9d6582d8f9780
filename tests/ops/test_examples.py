"""The examples in the docstrings of the operators give what they say."""

from __future__ import annotations

import doctest

import pytest
import tensorflow as tf

import kseg_ops


@pytest.mark.parametrize("name", ["aspp", "atrous_conv2d", "confusion_matrix", "resize_argmax", "roi_align"])
def test_example(name):
    function = getattr(kseg_ops, name)
    examples = doctest.DocTestParser().get_doctest(function.__doc__, {"tf": tf, "kseg_ops": kseg_ops}, name, None, None)
    assert examples.examples
    report: list[str] = []
    assert doctest.DocTestRunner().run(examples, out=report.append).failed == 0, "".join(report)
