"""mask_nms by hand, against plain Python, and native against reference."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from kseg_ops.mask_nms import padded_mask_nms
from tests.helpers.mask_cases import CORE, both_forms, in_form, needs_native, random_masks

KINDS = ("hard", "soft", "matrix")


def bars(*spans):
    """Masks of one row: `(begin, end)` in ten pixels."""
    masks = np.zeros((len(spans), 1, 10), np.uint8)
    for mask, (begin, end) in zip(masks, spans, strict=True):
        mask[0, begin:end] = 1
    return masks


# IoUs: 0-1 1/2, 0-2 1/4, 1-2 1/2, 3 with nothing.
CHAIN = bars((0, 2), (0, 4), (0, 8), (9, 10))


@both_forms
def test_hard_by_hand(form):
    nms = in_form(form, "mask_nms")
    # 1 falls to 0; then 2 stays, which only 1 could have suppressed.
    kept = nms(CHAIN, [0.9, 0.8, 0.7, 0.1], iou_threshold=0.4)
    assert kept.indices.numpy().tolist() == [0, 2, 3]
    np.testing.assert_array_equal(kept.scores, np.array([0.9, 0.7, 0.1], np.float32))
    # An IoU equal to the threshold does not suppress.
    assert nms(CHAIN, [0.9, 0.8, 0.7, 0.1], iou_threshold=0.5).indices.numpy().tolist() == [0, 1, 2, 3]
    assert nms(CHAIN, [0.9, 0.8, 0.7, 0.1], iou_threshold=0.4, max_output_size=2).indices.numpy().tolist() == [0, 2]
    # A score equal to the threshold is not above it.
    assert nms(CHAIN, [0.9, 0.8, 0.5, 0.1], score_threshold=0.5).indices.numpy().tolist() == [0, 1]
    classes = [0, 1, 0, 1]
    assert nms(CHAIN, [0.9, 0.8, 0.7, 0.1], classes, iou_threshold=0.2).indices.numpy().tolist() == [0, 1, 3]


@both_forms
def test_soft_by_hand(form):
    kept = in_form(form, "mask_nms")(CHAIN, [0.9, 0.8, 0.7, 0.1], kind="soft", sigma=0.25)
    # After 0: 1 has 0.8 e^-1, 2 has 0.7 e^-(1/4). Then 2 is the best, and takes another e^-1 from 1.
    expected = [0.9, 0.7 * math.exp(-0.25), 0.1, 0.8 * math.exp(-2)]
    assert kept.indices.numpy().tolist() == [0, 2, 1, 3] if expected[3] > expected[2] else [0, 2, 3, 1]
    # Each factor is good to 2**-28 before it is rounded to float32.
    np.testing.assert_allclose(kept.scores, sorted(expected, reverse=True), rtol=4 * 2.0**-24)
    few = in_form(form, "mask_nms")(CHAIN, [0.9, 0.8, 0.7, 0.1], kind="soft", sigma=0.25, score_threshold=0.105)
    assert few.indices.numpy().tolist() == [0, 2, 1]


@both_forms
def test_matrix_by_hand(form):
    kept = in_form(form, "mask_nms")(CHAIN, [0.9, 0.8, 0.7, 0.1], kind="matrix", sigma=0.25)
    # 1: e^-1. 2: the least of e^-(1/4) by 0 and e^-1 / e^-1 by 1, which is itself overlapped by a half.
    expected = {0: 0.9, 1: 0.8 * math.exp(-1), 2: 0.7 * math.exp(-0.25), 3: 0.1}
    order = sorted(expected, key=expected.get, reverse=True)
    assert kept.indices.numpy().tolist() == order
    np.testing.assert_allclose(kept.scores, [expected[index] for index in order], rtol=4 * 2.0**-24)


def plain_nms(iou, scores, classes, kind, threshold, least, size, sigma):
    """The definition with Python's floats."""
    decays = kind != "hard"
    least = max(least or 0, 0) if decays else least
    alive = [
        index
        for index, (score, label) in enumerate(zip(scores, classes, strict=True))
        if label != -1 and not math.isnan(score) and (least is None or score > least)
    ]
    alive.sort(key=lambda index: (-scores[index], index))
    same = np.equal.outer(classes, classes)
    current = dict(enumerate(scores))
    kept = []
    if kind == "hard":
        for index in alive:
            if not any(same[index, other] and iou[other, index] > threshold for other in kept):
                kept.append(index)
    elif kind == "soft":
        while alive:
            best = min(alive, key=lambda index: (-current[index], index))
            alive.remove(best)
            if current[best] > least:
                kept.append(best)
            for other in alive:
                if same[best, other]:
                    current[other] *= math.exp(-(float(iou[best, other]) ** 2) / sigma)
    else:
        square = [[float(iou[i, j]) ** 2 if same[i, j] else 0.0 for j in alive] for i in alive]
        most = [max([0.0] + [square[i][j] for i in range(j)]) for j in range(len(alive))]
        for j, index in enumerate(alive):
            worst = max([0.0] + [square[i][j] - most[i] for i in range(j) if same[alive[i], index]])
            current[index] *= math.exp(-worst / sigma)
        kept = sorted((i for i in alive if current[i] > least), key=lambda index: (-current[index], index))
    return kept[:size], [current[index] for index in kept[:size]]


@both_forms
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_definition(form, kind):
    for seed in range(4):
        generator = np.random.default_rng(seed)
        masks = random_masks(14, 12, 30, seed)
        scores = generator.uniform(0.1, 1, 14).astype(np.float32)
        classes = generator.integers(-1, 2, 14)
        iou = kseg_ops.mask_iou(masks, masks).numpy()
        kept = in_form(form, "mask_nms")(masks, scores, classes, 0.3, kind, 0.15, 8, 0.4)
        indices, expected = plain_nms(iou, scores.tolist(), classes, kind, 0.3, 0.15, 8, 0.4)
        assert kept.indices.numpy().tolist() == indices
        # Up to 14 factors, each rounded.
        np.testing.assert_allclose(kept.scores, expected, rtol=16 * 2.0**-23)


def hard_cases():
    """Ties, NaN, infinities, subnormal and negative scores, padding, and empty masks."""
    for seed, (count, height, width) in enumerate([(0, 3, 4), (1, 1, 1), (9, 8, 9), (25, 20, 130)]):
        generator = np.random.default_rng(seed)
        masks = random_masks(count, height, width, seed)
        tied = (generator.integers(0, 6, count) / 6).astype(np.float32)
        wild = generator.normal(size=count).astype(np.float32)
        for position, value in enumerate((np.nan, 1e-40, np.inf, -np.inf, -0.0, 0.0, np.inf, 3e38)):
            if position < count:
                wild[-1 - position] = value
        for scores in (tied, wild):
            yield masks, scores, None
            yield masks, scores, generator.integers(-1, 3, count).astype(np.int32)


@functools.cache
def expected_of_hard_cases(kind):
    """The reference's answers, once for all instruction sets."""
    found = []
    settings = ((None, None, 0.5), (0.25, 5, 0.0), (-0.5, 60, -0.1), (1e-41, None, 1.0))
    for case, (least, size, threshold) in itertools.product(hard_cases(), settings):
        options = {"iou_threshold": threshold, "kind": kind, "score_threshold": least, "max_output_size": size}
        with kseg_ops.use_reference():
            found.append((case, options, kseg_ops.mask_nms(*case, **options)))
    return found


@needs_native
@pytest.mark.parametrize("kind", KINDS)
def test_native_equals_reference_to_the_bit(target, kind):
    for (masks, scores, classes), options, expected in expected_of_hard_cases(kind):
        width = masks.shape[-1]
        for kept in (
            kseg_ops.mask_nms(masks, scores, classes, **options),
            kseg_ops.mask_nms(kseg_ops.pack_masks(masks), scores, classes, width=width, **options),
            kseg_ops.numpy.mask_nms(masks != 0, scores, classes, **options),
        ):
            np.testing.assert_array_equal(kept.indices, expected.indices)
            assert np.asarray(kept.scores).tobytes() == expected.scores.numpy().tobytes()


@both_forms
def test_ties_nan_and_empty_masks(form):
    nms = in_form(form, "mask_nms")
    same = bars((0, 4), (0, 4), (0, 4), (0, 0), (0, 0))
    assert nms(same, [0.5, np.nan, 0.5, 0.5, 0.5]).indices.numpy().tolist() == [0, 3, 4]
    assert nms(same, [-1.0, np.nan, -2.0, -np.inf, 0.0]).indices.numpy().tolist() == [4, 0, 3]
    assert nms(same, [-1.0, np.nan, -2.0, -np.inf, 0.0], kind="soft").indices.numpy().tolist() == []
    assert nms(same, [np.inf, 1.0, 0.5, 0.1, 0.1], kind="soft", sigma=1e-3).scores.numpy().tolist() == [
        np.inf,
        *np.float32([0.1, 0.1]).tolist(),
    ]


@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0])
def test_the_gaussian_is_exp(sigma):
    generator = np.random.default_rng(0)
    masks = np.zeros((2, 40, 50), bool)
    masks[0] = True
    for count in generator.integers(1, 2000, 12):
        masks[1].reshape(-1)[:count] = True
        masks[1].reshape(-1)[count:] = False
        kept = kseg_ops.mask_nms(masks, [1.0, 1.0], kind="soft", sigma=sigma)
        iou = float(np.float32(count / 2000))
        expected = math.exp(-(iou**2) / float(np.float32(sigma)))
        if expected > 2.0**-126:
            # Rounded to float32 once, after an error of at most 12 steps of 2**-30 beside at least a half.
            np.testing.assert_allclose(kept.scores[1], expected, rtol=2.0**-24 + 24 * 2.0**-30)


@needs_native
@pytest.mark.parametrize("kind", KINDS)
def test_equal_for_any_number_of_threads(target, kind):
    masks = random_masks(150, 30, 90, seed=5)
    scores = np.random.default_rng(1).random(150).astype(np.float32)
    results = []
    try:
        for threads in (1, 2, 3, 5):
            CORE.set_num_threads(threads)
            kept = kseg_ops.numpy.mask_nms(masks, scores, kind=kind, iou_threshold=0.2)
            results.append(kept.indices.tobytes() + kept.scores.tobytes())
    finally:
        CORE.set_num_threads(0)
    assert len(set(results)) == 1
    kept = kseg_ops.mask_nms(masks, scores, kind=kind, iou_threshold=0.2)
    assert results[0] == kept.indices.numpy().tobytes() + kept.scores.numpy().tobytes()


@both_forms
@pytest.mark.parametrize(("kind", "size"), [*itertools.product(KINDS, [3, 20]), ("hard", 0), ("soft", None)])
def test_padded_results_of_a_batch(form, kind, size):
    masks = np.stack([random_masks(9, 8, 20, seed) for seed in range(3)])
    scores = np.random.default_rng(2).uniform(0.1, 1, (3, 9)).astype(np.float32)
    classes = np.zeros((3, 9), np.int32)
    classes[2] = -1
    options = {"kind": kind, "iou_threshold": 0.4, "score_threshold": 0.2, "sigma": 0.3}
    in_form(form, "mask_nms")  # skips where there is none
    with kseg_ops.use_reference() if form == "reference" else contextlib.nullcontext():
        indices, kept_scores, number = padded_mask_nms(
            tf.constant(masks), tf.constant(scores), tf.constant(classes), size, **options
        )
    assert indices.shape == kept_scores.shape == (3, 9 if size is None else size)
    for image in range(3):
        alone = kseg_ops.mask_nms(masks[image], scores[image], classes[image], max_output_size=size, **options)
        valid = int(number[image])
        np.testing.assert_array_equal(indices[image, :valid], alone.indices)
        np.testing.assert_array_equal(kept_scores[image, :valid], alone.scores)
        assert np.all(indices[image, valid:] == -1)
        assert np.all(kept_scores[image, valid:] == 0)
    assert int(number[2]) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_reference_of_fixed_size_under_xla(kind):
    masks = np.stack([random_masks(9, 8, 20, seed) for seed in range(2)])
    scores = np.random.default_rng(2).uniform(0.1, 1, (2, 9)).astype(np.float32)

    @tf.function(jit_compile=True)
    def compiled(masks, scores):
        with kseg_ops.use_reference():
            return padded_mask_nms(
                masks,
                scores,
                tf.zeros([2, 9], tf.int32),
                6,
                kind=kind,
                iou_threshold=0.3,
                score_threshold=None,
                sigma=0.5,
            )

    with kseg_ops.use_reference():
        expected = padded_mask_nms(
            tf.constant(masks),
            tf.constant(scores),
            tf.zeros([2, 9], tf.int32),
            6,
            kind=kind,
            iou_threshold=0.3,
            score_threshold=None,
            sigma=0.5,
        )
    for found, wanted in zip(compiled(masks, scores), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@both_forms
def test_static_shapes_and_unknown_ranks(form):
    nms = in_form(form, "mask_nms")

    @tf.function(input_signature=[tf.TensorSpec(None, tf.uint8), tf.TensorSpec(None, tf.float32)])
    def unknown(masks, scores):
        kept = nms(masks, scores, iou_threshold=0.4)
        assert kept.indices.shape.as_list() == [None]
        return kept

    assert unknown(CHAIN, np.float32([0.9, 0.8, 0.7, 0.1])).indices.numpy().tolist() == [0, 2, 3]
    dataset = tf.data.Dataset.from_tensors((CHAIN, np.float32([0.9, 0.8, 0.7, 0.1]))).map(nms)
    assert next(iter(dataset)).indices.shape == (4,)


@both_forms
@pytest.mark.parametrize("shape", [None, [None]])
def test_class_ids_known_only_at_run_time(form, shape):
    nms = in_form(form, "mask_nms")
    scores, ids = np.float32([0.9, 0.8, 0.7, 0.1]), np.zeros(4, np.int64)
    unknown = tf.function(
        lambda ids: nms(CHAIN, scores, ids, iou_threshold=0.4).indices, input_signature=[tf.TensorSpec(shape, tf.int64)]
    )
    np.testing.assert_array_equal(unknown(ids), [0, 2, 3])
    for count in (0, 1, 3):
        with pytest.raises(tf.errors.InvalidArgumentError, match="class_ids must have one entry per mask"):
            unknown(ids[:count])
    for wrong in (2**31, 2**40, -(2**31) - 1):
        ids[1] = wrong
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"class_ids must be in .*2147483647"):
            unknown(ids)
        with pytest.raises(ValueError, match=f"class_ids must be in .*2147483647, got {wrong}"):
            nms(CHAIN, scores, tf.constant(ids))


@pytest.mark.parametrize("module", [kseg_ops, kseg_ops.numpy], ids=["tensorflow", "numpy"])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"masks": CHAIN.astype(np.float32)}, TypeError, "masks must be bool or uint8, got float32"),
        ({"masks": CHAIN[0]}, ValueError, "masks must have (shape|rank)"),
        ({"scores": [0.5, 0.5]}, ValueError, "scores must have one entry per mask"),
        ({"scores": np.arange(4)}, TypeError, "scores must be floating, got int64"),
        ({"class_ids": [1, 2]}, ValueError, "class_ids must have one entry per mask"),
        ({"class_ids": [0, 2**40, 0, 2**41]}, ValueError, "class_ids must be in .*2147483647, got 2199023255552"),
        ({"class_ids": np.int64([0, -(2**63), 0, 0])}, ValueError, "class_ids must be in .*, got -9223372036854775808"),
        ({"class_ids": [0.5] * 4}, TypeError, "class_ids must be integers, got float"),
        ({"kind": "fast"}, ValueError, "kind must be 'hard', 'soft' or 'matrix', got 'fast'"),
        ({"iou_threshold": math.nan}, ValueError, "iou_threshold must be a number, got nan"),
        ({"iou_threshold": "0.5"}, TypeError, "iou_threshold must be a Python number, got '0.5'"),
        ({"score_threshold": math.nan}, ValueError, "score_threshold must be a number, got nan"),
        ({"sigma": 0}, ValueError, r"sigma must be a number in 1e-06..1e\+06, got 0"),
        ({"max_output_size": -1}, ValueError, "max_output_size must be in 0..268435456, got -1"),
        ({"max_output_size": 1.5}, TypeError, "max_output_size must be an integer, got 1.5"),
        ({"width": 30}, ValueError, "masks must have ceil.width / 8. = 4 bytes per row"),
    ],
)
def test_refusals(module, change, error, message):
    if module is kseg_ops.numpy and CORE is None:
        pytest.skip("the compiled library is off")
    with pytest.raises(error, match=message):
        module.mask_nms(**{"masks": CHAIN, "scores": [0.9, 0.8, 0.7, 0.1], **change})


@needs_native
def test_raw_ops_check_what_they_get():
    scores, classes = np.zeros((1, 4), np.float32), np.zeros((1, 4), np.int32)
    none = np.zeros((0, 0, 4), np.float32)
    given = {"masks": CHAIN[None], "scores": scores, "class_ids": classes, "boxes": none, "max_output_size": 3}
    op = _library.native_op("mask_nms")
    assert op(**given).indices.shape == (1, 3)
    for wrong, message in (
        ({"masks": CHAIN}, "masks must have rank 4"),
        ({"scores": scores[0]}, "scores must have rank 2"),
        ({"scores": scores[:, :2]}, r"scores must have one entry per mask, \[1, 4\], got \[1, 2\]"),
        ({"class_ids": classes[:, :2]}, r"class_ids must have one entry per mask, \[1, 4\], got \[1, 2\]"),
        ({"kind": "fast"}, "kind must be hard, soft or matrix, got fast"),
        ({"sigma": -1.0}, "sigma must be in 1e-6..1e6, got -1"),
        ({"iou_threshold": math.nan}, "iou_threshold must be a number, got NaN"),
        ({"score_threshold": math.nan}, "score_threshold must be a number, got NaN"),
        ({"max_output_size": 2**40}, "max_output_size must be in 0..268435456 or -1"),
        ({"width": 2**40}, "width must be in 0..2147483647 or -1"),
        ({"width": 40}, "masks must have ceil.width / 8. = 5 bytes per row"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            op(**{**given, **wrong})
        if message.startswith(("masks must have rank", "scores must have rank")):
            message = message.replace("rank 4", "rank 4, got rank 3").replace("rank 2", "rank 2, got rank 1")
        with pytest.raises(ValueError, match=message):
            CORE.mask_nms(**{**given, "score_threshold": 0.0, **wrong})
    many = {"masks": np.zeros((2**10, 0, 1, 1), np.uint8), "max_output_size": 2**20}
    many |= {"scores": np.zeros((2**10, 0), np.float32), "class_ids": np.zeros((2**10, 0), np.int32)}
    many |= {"boxes": none}
    with pytest.raises(tf.errors.InvalidArgumentError, match="max_output_size times the number of images"):
        op(**many)


@needs_native
def test_shape_function():
    op = _library.native_op("mask_nms")
    with tf.Graph().as_default():
        place = tf.compat.v1.placeholder
        masks, classes, boxes = place(tf.bool, None), place(tf.int32, None), place(tf.float32, None)
        kept = op(masks=masks, scores=place(tf.float32, [2, 5]), class_ids=classes, boxes=boxes, max_output_size=-1)
        assert [output.shape.as_list() for output in kept] == [[2, 5], [2, 5], [2]]
        kept = op(masks=masks, scores=place(tf.float32, None), class_ids=classes, boxes=boxes, max_output_size=7)
        assert [output.shape.as_list() for output in kept] == [[None, 7], [None, 7], [None]]
        with pytest.raises(ValueError, match="must be equal"):
            op(
                masks=place(tf.bool, [2, 4, 1, 1]),
                scores=place(tf.float32, [2, 5]),
                class_ids=classes,
                boxes=boxes,
                max_output_size=7,
            )


def test_keras_tensors_are_refused():
    import keras

    with pytest.raises(TypeError, match=r"masks is a KerasTensor.*Use kseg\.layers.MaskNMS instead"):
        kseg_ops.mask_nms(keras.Input((3, 4), dtype="bool"), [0.5])


@both_forms
@pytest.mark.parametrize("sigma", [1e-6, 1e6])
def test_the_limits_of_sigma_are_allowed(form, sigma):
    kept = in_form(form, "mask_nms")(np.ones((2, 3, 3), bool), [0.5, 0.4], kind="soft", sigma=sigma)
    assert np.asarray(kept.indices).tolist()[0] == 0
