"""The compiled depthwise atrous convolution: every instruction set, determinism, strictness."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.atrous_cases import CASES, CORE, EPS, call_reference, gradients, needs_native, random_depthwise

pytestmark = needs_native

reference = call_reference("depthwise_atrous_conv2d")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_native_equals_reference(target, case):
    x, filters = random_depthwise(case)
    rate, padding = case[3:]
    op = _library.native_op("depthwise_atrous_conv2d")  # the wrapper chooses TensorFlow's own at rate 1
    result = op(x=x, filters=filters, rate=rate, padding=padding)
    # Either side rounds each product and each sum.
    bound = 2 * (filters.shape[0] * filters.shape[1] + 1) * EPS
    magnitude = reference(abs(x), abs(filters), rate, padding)
    assert np.all(np.abs(result - reference(x, filters, rate, padding)) <= bound * magnitude)

    upstream = np.random.default_rng(3).uniform(-1, 1, result.shape).astype(np.float32)
    inputs = {"x": x, "filters": filters, "output_gradient": upstream, "rate": rate, "padding": padding}
    given = (
        _library.native_op("depthwise_atrous_conv2d_input_grad")(**inputs),
        _library.native_op("depthwise_atrous_conv2d_filter_grad")(**inputs),
    )
    expected, magnitudes = (
        gradients(lambda *args: reference(*args, rate, padding), arrays[:2], arrays[2])
        for arrays in ((x, filters, upstream), (abs(x), abs(filters), abs(upstream)))
    )
    for ours, theirs, size, terms in zip(
        given, expected, magnitudes, (filters[..., 0, :].size + 1, upstream[..., 0].size + 1), strict=True
    ):
        assert np.all(np.abs(ours - theirs) <= 2 * terms * EPS * size)


def test_targets_differ_by_rounding_only():
    # Chunks of channels and runs of pixels differ from target to target, the order of products does not: what fuses
    # multiplication and addition agrees to the bit.
    fused = [name for name in CORE.supported_simd_targets() if name in ("avx2", "avx512")]
    if len(fused) < 2:
        pytest.skip("this machine has one target with fused multiply-add")
    x, filters = random_depthwise(((1, 23, 25, 67), (3, 3), 1))
    try:
        results = []
        for name in fused:
            CORE.set_simd_target(name)
            results.append(CORE.depthwise_atrous_conv2d(x, filters, (2, 3), "same"))
    finally:
        CORE.set_simd_target("")
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_bitwise_equal_for_any_number_of_threads(target, dtype):
    case = ((2, 40, 37, 70), (3, 3), 1, (3, 5), "same")
    x, filters = random_depthwise(case, dtype=dtype)
    upstream = np.random.default_rng(1).uniform(-1, 1, x.shape).astype(dtype)
    attributes = ((3, 5), "same")
    results = []
    try:
        for threads in (1, 2, 3, 5, 2):
            CORE.set_num_threads(threads)
            results.append(
                b"".join(
                    array.tobytes()
                    for array in (
                        CORE.depthwise_atrous_conv2d(x, filters, *attributes),
                        CORE.depthwise_atrous_conv2d_input_grad(x, filters, upstream, *attributes),
                        CORE.depthwise_atrous_conv2d_filter_grad(x, filters, upstream, *attributes),
                    )
                )
            )
    finally:
        CORE.set_num_threads(0)
    output = kseg_ops.depthwise_atrous_conv2d(x, filters, (3, 5))
    grads = gradients(lambda *args: kseg_ops.depthwise_atrous_conv2d(*args, (3, 5)), (x, filters), upstream)
    results.append(b"".join(array.tobytes() for array in (output.numpy(), *grads)))
    assert len(set(results)) == 1


def test_the_numpy_form(target):
    x, filters = random_depthwise(CASES[3])
    result = kseg_ops.numpy.depthwise_atrous_conv2d(x, filters, (3, 2))
    np.testing.assert_array_equal(result, kseg_ops.depthwise_atrous_conv2d(x, filters, (3, 2)))
    swapped = kseg_ops.numpy.depthwise_atrous_conv2d(x.astype(">f4"), filters, (3, 2))
    np.testing.assert_array_equal(swapped, result)


def test_a_native_forward_can_have_a_reference_backward():
    x, filters = (tf.constant(array) for array in random_depthwise(CASES[0]))
    with tf.GradientTape() as tape:
        tape.watch([x, filters])
        result = kseg_ops.depthwise_atrous_conv2d(x, filters, (2, 3))
    with kseg_ops.use_reference():
        given = tape.gradient(result, [x, filters])
    expected = gradients(lambda *args: reference(*args, (2, 3)), (x, filters), np.ones(result.shape))
    for ours, theirs in zip(given, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


RAW = {
    "x": np.ones((1, 4, 4, 2), np.float32),
    "filters": np.ones((3, 3, 2, 2), np.float32),
    "rate": (1, 2),
    "padding": "same",
}
WRONG = [
    ({"rate": (1,)}, "rate must have two entries"),
    ({"rate": (0, 1)}, "rate must be in 1..65536, got 0"),
    ({"rate": (2**40, 1)}, "rate must be in 1..65536"),
    ({"padding": "full"}, "padding must be 'same' or 'valid', got 'full'"),
    ({"rate": (1, 3), "padding": "valid"}, "x must have a width of at least 6 for padding 'valid'"),
    ({"x": np.ones((4, 4, 2), np.float32)}, "x must have rank 4"),
    ({"filters": np.ones((3, 3, 2), np.float32)}, "filters must have rank 4"),
    ({"filters": np.ones((3, 3, 3, 1), np.float32)}, "filters must have shape .kh, kw, C, m. with C = 2"),
    ({"filters": np.ones((3, 0, 2, 1), np.float32)}, "filters must have a width in 1..64, got 0"),
    ({"filters": np.ones((65, 1, 2, 1), np.float32)}, "filters must have a height in 1..64, got 65"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_the_raw_op_and_the_numpy_module_check_what_they_get(wrong, message):
    given = {**RAW, **wrong}
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
        _library.native_op("depthwise_atrous_conv2d")(**given)
    with pytest.raises(ValueError, match=message):
        CORE.depthwise_atrous_conv2d(**given)
    upstream = np.ones((1, 4, 4, 4), np.float32)
    for name in ("depthwise_atrous_conv2d_input_grad", "depthwise_atrous_conv2d_filter_grad"):
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
            _library.native_op(name)(**given, output_gradient=upstream)
        with pytest.raises(ValueError, match=message):
            getattr(CORE, name)(**given, output_gradient=upstream)


@pytest.mark.parametrize("name", ["depthwise_atrous_conv2d_input_grad", "depthwise_atrous_conv2d_filter_grad"])
def test_gradient_ops_check_the_gradient(name):
    for shape, message in (((1, 4, 4, 2), "must have the shape of the output"), ((1, 4, 4), "must have rank 4")):
        upstream = np.ones(shape, np.float32)
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
            _library.native_op(name)(**RAW, output_gradient=upstream)
        with pytest.raises(ValueError, match=message):
            getattr(CORE, name)(**RAW, output_gradient=upstream)
    with pytest.raises(TypeError, match="x must be one of float32, float16, bfloat16, got float64"):
        getattr(CORE, name)(**{**RAW, "x": RAW["x"].astype(np.float64)}, output_gradient=upstream)
    with pytest.raises(TypeError, match="filters must be float32, got float16"):
        getattr(CORE, name)(**{**RAW, "filters": RAW["filters"].astype(np.float16)}, output_gradient=upstream)


def test_shape_functions():
    op = _library.native_op("depthwise_atrous_conv2d")
    of_input = _library.native_op("depthwise_atrous_conv2d_input_grad")
    of_filters = _library.native_op("depthwise_atrous_conv2d_filter_grad")
    with tf.Graph().as_default():

        def given(shape):
            return tf.compat.v1.placeholder(tf.float32, shape)

        attributes = {"rate": (2, 3), "padding": "valid"}
        filters = given([3, 3, 4, 2])
        assert op(x=given(None), filters=filters, **attributes).shape.as_list() == [None, None, None, 8]
        x = given([None, 9, 9, 4])
        assert op(x=x, filters=given(None), **attributes).shape.as_list() == [None, None, None, None]
        assert op(x=x, filters=filters, **attributes).shape.as_list() == [None, 5, 3, 8]
        gradient = given([2, 5, None, None])
        arguments = {"x": x, "filters": filters, "output_gradient": gradient, **attributes}
        assert of_input(**arguments).shape.as_list() == [None, 9, 9, 4]
        assert of_filters(**arguments).shape.as_list() == [3, 3, 4, 2]
        with pytest.raises(ValueError, match="must be equal"):
            of_input(**{**arguments, "output_gradient": given([2, 6, 3, 8])})
        with pytest.raises(ValueError, match="must be equal"):
            op(x=x, filters=given([3, 3, 5, 2]), **attributes)
        with pytest.raises(ValueError, match="x must have a height of at least 12 "):
            op(x=x, filters=filters, rate=(6, 1), padding="valid")
