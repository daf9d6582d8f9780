"""pack_masks and unpack_masks, the TensorFlow and the NumPy forms."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy

modules = pytest.mark.parametrize("module", [kseg_ops, kseg_ops.numpy], ids=["tensorflow", "numpy"])


@modules
@pytest.mark.parametrize("shape", [(3, 5, 17), (4, 8), (2, 1, 3, 1), (0, 5, 9), (2, 0, 9), (2, 3, 0), (1, 64, 64)])
@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_packed_as_numpy_packs_and_back(module, shape, dtype):
    masks = np.random.default_rng(0).integers(0, 3, shape).astype(dtype)
    packed = np.asarray(module.pack_masks(masks))
    assert packed.dtype == np.uint8
    np.testing.assert_array_equal(packed, np.packbits(masks != 0, axis=-1, bitorder="little"))
    unpacked = np.asarray(module.unpack_masks(packed, shape[-1]))
    assert unpacked.dtype == np.uint8
    np.testing.assert_array_equal(unpacked, masks != 0)


@modules
def test_bits_beyond_the_width_are_ignored(module):
    full = np.full((1, 2), 255, np.uint8)
    np.testing.assert_array_equal(np.asarray(module.unpack_masks(full, 11)), np.ones((1, 11)))


def test_static_shapes_graphs_and_xla():
    masks = np.random.default_rng(0).random((2, 3, 13)) < 0.5

    @tf.function(jit_compile=True)
    def there_and_back(masks):
        return kseg_ops.unpack_masks(kseg_ops.pack_masks(masks), 13)

    np.testing.assert_array_equal(there_and_back(masks), masks)

    @tf.function(input_signature=[tf.TensorSpec([None, 4, None], tf.bool)])
    def unknown(masks):
        packed = kseg_ops.pack_masks(masks)
        assert packed.shape.as_list() == [None, 4, None]
        assert kseg_ops.unpack_masks(packed, 13).shape.as_list() == [None, 4, 13]
        return packed

    assert unknown(np.zeros((1, 4, 13), bool)).shape == (1, 4, 2)
    assert kseg_ops.pack_masks(tf.zeros([2, 3, 13], tf.bool)).shape == (2, 3, 2)


@modules
def test_refusals(module):
    for call, error, message in (
        (lambda: module.pack_masks(np.zeros((2, 3), np.float32)), TypeError, "masks must be bool or .*got float32"),
        (lambda: module.pack_masks(np.zeros(3, np.uint8)), ValueError, r"masks must have shape \[..., H, W\], got"),
        (lambda: module.unpack_masks(np.zeros((2, 3), np.int32), 20), TypeError, "packed must be uint8, got int32"),
        (lambda: module.unpack_masks(np.zeros(3, np.uint8), 20), ValueError, r"packed must have shape \[..., H, ceil"),
        (lambda: module.unpack_masks(np.zeros((2, 3), np.uint8), 25), ValueError, r"packed must have ceil.* = 4 bytes"),
        (lambda: module.unpack_masks(np.zeros((2, 3), np.uint8), -1), ValueError, "width must be in 0.*got -1"),
        (lambda: module.unpack_masks(np.zeros((2, 3), np.uint8), 2.5), TypeError, "width must be an integer, got 2.5"),
    ):
        with pytest.raises(error, match=message):
            call()
