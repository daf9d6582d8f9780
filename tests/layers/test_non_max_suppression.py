"""The layer NonMaxSuppression, on its own and in a functional model."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import kseg_ops
from kseg.layers import NonMaxSuppression
from kseg_ops import _library
from tests.helpers.layer_checks import POLICIES, check_config_round_trip
from tests.helpers.nms_cases import random_boxes

ARGUMENTS = {
    "iou_threshold": 0.3,
    "score_threshold": 0.1,
    "max_output_size": 6,
    "max_per_class": 3,
    "kind": "matrix",
    "sigma": 0.7,
    "matrix_kernel": "linear",
    "class_agnostic": True,
}


@pytest.fixture
def inputs():
    generator = np.random.default_rng(0)
    return random_boxes(generator, 2, 30) * 40 + 3, generator.uniform(0, 1, (2, 30, 3)).astype("float32")


def assert_equal(found, expected):
    assert list(found) == list(expected._fields)
    for name, value in expected._asdict().items():
        np.testing.assert_array_equal(np.asarray(found[name]), value, err_msg=name)
        assert keras.backend.standardize_dtype(found[name].dtype) == np.asarray(value).dtype


def test_configuration():
    layer = NonMaxSuppression(**ARGUMENTS, name="last")
    assert {key: layer.get_config()[key] for key in ARGUMENTS} == ARGUMENTS
    check_config_round_trip(layer)
    check_config_round_trip(NonMaxSuppression())


@pytest.mark.parametrize("policy", POLICIES)
def test_equals_the_op_under_every_policy(inputs, policy):
    layer = NonMaxSuppression(**ARGUMENTS, dtype=policy)
    assert_equal(layer(list(inputs)), kseg_ops.batched_nms(*inputs, **ARGUMENTS))
    assert not layer.trainable_weights
    check_config_round_trip(layer)


def test_shapes():
    layer = NonMaxSuppression(max_output_size=6)
    shapes = layer.compute_output_shape([(None, None, 4), (None, None, 3)])
    assert shapes == {
        "boxes": (None, 6, 4),
        "scores": (None, 6),
        "classes": (None, 6),
        "indices": (None, 6),
        "num_valid": (None,),
    }


@pytest.mark.parametrize("ids", [False, True])
def test_in_a_functional_model_that_is_saved(inputs, ids, tmp_path):
    boxes, scores = inputs
    entries = [keras.Input((None, 4)), keras.Input((None,) if ids else (None, 3))]
    arrays = [boxes, scores[..., 0] if ids else scores]
    options = {**ARGUMENTS, "class_agnostic": False}
    if ids:
        entries.append(keras.Input((None,), dtype="int32"))
        arrays.append(np.random.default_rng(1).integers(-1, 3, (2, 30)).astype("int32"))
    model = keras.Model(entries, NonMaxSuppression(**options)(entries))
    assert {name: tensor.dtype for name, tensor in model.output.items()} == {
        "boxes": "float32",
        "scores": "float32",
        "classes": "int32",
        "indices": "int32",
        "num_valid": "int32",
    }
    expected = kseg_ops.batched_nms(*arrays[:2], class_ids=arrays[2] if ids else None, **options)
    assert_equal(model(arrays), expected)
    predicted = model.predict(arrays, verbose=0)
    np.testing.assert_array_equal(predicted["indices"], expected.indices)
    model.save(tmp_path / "model.keras")
    assert_equal(keras.models.load_model(tmp_path / "model.keras")(arrays), expected)


def test_xla_is_declared_as_it_is():
    assert NonMaxSuppression().supports_jit == _library.jit_ready(("batched_nms",))


def test_refusals(inputs):
    with pytest.raises(ValueError, match=r"kind must be one of 'hard', .*, got 'fuzzy'"):
        NonMaxSuppression(kind="fuzzy")
    with pytest.raises(ValueError, match=r"iou_threshold must be in 0..1, got 2"):
        NonMaxSuppression(iou_threshold=2)
    with pytest.raises(ValueError, match=r"inputs must be \[boxes, scores\] or .*, got list of 1"):
        NonMaxSuppression()([inputs[0]])
    with pytest.raises(TypeError, match="boxes must be float32, got float16"):
        NonMaxSuppression()([inputs[0].astype("float16"), inputs[1]])
