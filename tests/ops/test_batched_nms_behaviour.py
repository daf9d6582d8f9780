"""batched_nms in graphs, under XLA, on empty input, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from tests.helpers.nms_cases import KINDS, assert_same, random_boxes, with_native, with_reference


@pytest.fixture(params=[with_native, with_reference], ids=["native", "reference"])
def nms(request):
    """`kseg_ops.batched_nms` in either form."""
    return request.param(kseg_ops.batched_nms)


BOXES = np.array([[[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10]]] * 2, np.float32)
SCORES = np.array([[0.9, 0.8, 0.7], [0.7, 0.8, 0.9]], np.float32)
SHAPES = {"boxes": [2, 5, 4], "scores": [2, 5], "classes": [2, 5], "indices": [2, 5], "num_valid": [2]}
DTYPES = {"boxes": tf.float32, "scores": tf.float32, "classes": tf.int32, "indices": tf.int32, "num_valid": tf.int32}


@pytest.mark.parametrize(("images", "rows"), [(0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize(("kind", "kernel"), KINDS)
def test_empty_inputs(nms, images, rows, kind, kernel):
    boxes = np.zeros((images, rows, 4), np.float32)
    for scores in (np.zeros((images, rows)), np.zeros((images, rows, 3))):
        found = nms(boxes, scores, max_output_size=5, kind=kind, matrix_kernel=kernel)
        for name, shape in SHAPES.items():
            assert getattr(found, name).shape == [images, *shape[1:]]
            assert getattr(found, name).dtype == DTYPES[name]
        assert not np.any(found.num_valid)
        assert np.all(np.equal(found.indices, -1))
    found = nms(boxes, boxes[..., 0], class_ids=np.zeros((images, rows), np.int32), max_output_size=5)
    assert found.boxes.shape == (images, 5, 4)


def test_static_shapes(nms):
    @tf.function
    def traced(boxes, scores):
        found = nms(boxes, scores, max_output_size=5)
        for name, shape in SHAPES.items():
            assert getattr(found, name).shape.as_list() == shape, name
        return found

    traced.get_concrete_function(tf.TensorSpec([2, None, 4]), tf.TensorSpec([None, 7, 3]))
    traced.get_concrete_function(tf.TensorSpec([2, None, 3, 4]), tf.TensorSpec([2, 7, 3]))


@pytest.mark.parametrize("kind", ["hard", "matrix"])
def test_shapes_known_only_at_run_time(nms, kind):
    @tf.function(input_signature=[tf.TensorSpec([None] * 3), tf.TensorSpec([None] * 2)])
    def unknown(boxes, scores):
        found = nms(boxes, scores, 0.3, max_output_size=5, kind=kind)
        assert found.boxes.shape.as_list() == [None, 5, 4]
        return found

    assert_same(unknown(BOXES, SCORES), nms(BOXES, SCORES, 0.3, max_output_size=5, kind=kind))
    assert unknown(BOXES[:, :0], SCORES[:, :0]).num_valid.numpy().tolist() == [0, 0]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)scores must have the images and rows of boxes"):
        unknown(BOXES, SCORES[:, :2])


def test_the_reference_needs_ranks_and_says_so():
    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec(None)])
    def unknown(boxes, scores):
        return with_reference(kseg_ops.batched_nms)(boxes, scores)

    with pytest.raises(ValueError, match=r"boxes must have a known rank for the reference .*tf\.ensure_shape"):
        unknown.get_concrete_function()


@pytest.mark.parametrize(("kind", "kernel"), KINDS)
def test_the_reference_compiles_under_xla(kind, kernel):
    generator = np.random.default_rng(7)
    boxes = random_boxes(generator, 2, 40, grid=5)
    scores = np.round(generator.uniform(0, 1, (2, 40, 3)), 1).astype(np.float32)

    def suppress(boxes, scores):
        return with_reference(kseg_ops.batched_nms)(
            boxes, scores, 0.3, max_output_size=30, max_per_class=8, kind=kind, matrix_kernel=kernel
        )

    # To the bit: the reference is written such that a compiler finds nothing to fuse.
    assert_same(tf.function(suppress, jit_compile=True)(boxes, scores), suppress(boxes, scores))


def test_in_a_data_pipeline(nms):
    data = tf.data.Dataset.from_tensors((BOXES, SCORES))
    found = next(iter(data.map(lambda boxes, scores: nms(boxes, scores, 0.3, max_output_size=5))))
    assert_same(found, nms(BOXES, SCORES, 0.3, max_output_size=5))


@pytest.mark.parametrize(("kind", "kernel"), KINDS)
def test_there_is_no_gradient(nms, kind, kernel):
    boxes, scores = tf.constant(BOXES), tf.constant(SCORES)

    @tf.function
    def gradients(boxes, scores):
        with tf.GradientTape() as tape:
            tape.watch([boxes, scores])
            found = nms(boxes, scores, 0.3, max_output_size=5, kind=kind, matrix_kernel=kernel)
            loss = tf.reduce_sum(found.scores) + tf.reduce_sum(found.boxes)
        return [gradient is None for gradient in tape.gradient(loss, [boxes, scores])]

    assert np.all(gradients(boxes, scores))


def test_in_a_training_graph(nms):
    """The gradient of boxes gathered by the indices, as where proposals feed a second stage."""

    @tf.function
    def gradient(boxes):
        with tf.GradientTape() as tape:
            tape.watch(boxes)
            found = nms(boxes, SCORES, 0.3, max_output_size=2)
            kept = tf.gather(boxes, tf.maximum(found.indices, 0), batch_dims=1)
            loss = tf.reduce_sum(kept[..., 0] * tf.cast(found.indices >= 0, tf.float32))
        return tape.gradient(loss, boxes)

    gathered = tf.convert_to_tensor(gradient(tf.constant(BOXES)))
    np.testing.assert_array_equal(gathered[..., 0], [[1, 0, 1], [1, 0, 1]])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"boxes": BOXES[0]}, ValueError, r"boxes must have shape \[B, N, 4\] or \[B, N, C, 4\], got \(3, 4\)"),
        ({"boxes": BOXES[..., :3]}, ValueError, r"boxes must have shape .*, got \(2, 3, 3\)"),
        ({"boxes": BOXES.astype(np.float16)}, TypeError, "boxes must be float32, got float16"),
        ({"boxes": np.zeros((2, 3, 2, 4))}, ValueError, "boxes must be one per row or one for each of the 1 classes"),
        ({"scores": SCORES[0]}, ValueError, r"scores must have shape \[B, N\] or \[B, N, C\], got \(3,\)"),
        ({"scores": SCORES[:, :2]}, ValueError, r"scores must have the images and rows of boxes, got shape \(2, 2\)"),
        ({"scores": np.zeros((2, 3, 0))}, ValueError, "scores must have at least one class"),
        ({"scores": np.zeros((2, 3), np.int64)}, TypeError, "scores must be floating, got int64"),
        (
            {"class_ids": [[0, 1], [0, 1]]},
            ValueError,
            r"class_ids must have the shape of scores, \(2, 3\), got \(2, 2\)",
        ),
        (
            {"class_ids": np.zeros((2, 3), np.int32), "scores": np.zeros((2, 3, 2))},
            ValueError,
            r"class_ids must not be given with scores \[B, N, C\]",
        ),
        ({"iou_threshold": 2}, ValueError, "iou_threshold must be in 0..1, got 2"),
        ({"score_threshold": float("nan")}, ValueError, "score_threshold must be a number, got NaN"),
        ({"max_output_size": 0}, ValueError, "max_output_size must be in 1..1048576, got 0"),
        ({"max_output_size": None}, TypeError, "max_output_size must be an integer, got None"),
        ({"class_agnostic": "False"}, TypeError, "class_agnostic must be True or False, got 'False'"),
        ({"class_ids": [[0, 1, 2**40]] * 2}, ValueError, r"class_ids must be in -2147483648\.\.2147483647, got 1099"),
        ({"class_ids": tf.fill([2, 3], -(2**40))}, ValueError, r"class_ids must be in -.*, got -1099511627776"),
        ({"max_per_class": 0}, ValueError, "max_per_class must be in 1.*, got 0"),
        ({"kind": "soft"}, ValueError, "kind must be one of 'hard', 'linear', 'gaussian', 'matrix', got 'soft'"),
        ({"matrix_kernel": "hard"}, ValueError, "matrix_kernel must be one of 'gaussian', 'linear', got 'hard'"),
        ({"sigma": 0}, ValueError, r"sigma must be in 1e-06..1e\+06, got 0"),
        ({"sigma": "1"}, TypeError, "sigma must be a Python number, got '1'"),
    ],
)
def test_invalid_arguments(nms, change, error, message):
    with pytest.raises(error, match=message):
        nms(**{"boxes": BOXES, "scores": SCORES, **change})


@pytest.mark.parametrize("shape", [None, [None, None]])
def test_class_ids_known_only_at_run_time(nms, shape):
    @tf.function(input_signature=[tf.TensorSpec([2, 3, 4]), tf.TensorSpec([2, 3]), tf.TensorSpec(shape, tf.int64)])
    def unknown(boxes, scores, class_ids):
        return nms(boxes, scores, 0.3, class_ids=class_ids, max_output_size=3).num_valid

    ids = np.zeros((2, 3), np.int64)
    np.testing.assert_array_equal(unknown(BOXES, SCORES, ids), [2, 2])
    for wrong in (ids[:0, :0], ids[:, :0], ids[:1], ids[:, :1]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="class_ids must have the shape of scores"):
            unknown(BOXES, SCORES, wrong)
    for wrong in (2**31, 2**40, -(2**31) - 1):
        ids[1, 1] = wrong
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"class_ids must be in -2147483648\.\.2147483647"):
            unknown(BOXES, SCORES, ids)
    ids[1] = 2**31 - 1, 2**31 - 2, 2**31 - 1
    np.testing.assert_array_equal(unknown(BOXES, SCORES, ids), [2, 3])


def test_the_ends_of_sigma_are_allowed(nms):
    for sigma in (1e-6, 1e6):
        assert nms(BOXES, SCORES, kind="gaussian", sigma=sigma).num_valid.numpy().min() >= 1


def test_keras_tensors_are_refused():
    keras = pytest.importorskip("keras")
    with pytest.raises(TypeError, match=r"scores is a KerasTensor.*kseg\.layers\.NonMaxSuppression"):
        kseg_ops.batched_nms(BOXES, keras.Input((3,)))
