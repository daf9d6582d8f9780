from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from kseg.training.checkpoint_store import CheckpointError, CheckpointStore, read_checkpoint


@pytest.fixture
def store(tmp_path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


ARRAYS = {
    "model/weights": np.arange(12, dtype=np.float32).reshape(3, 4),
    "half": np.array([1.5, -2.25], ml_dtypes.bfloat16),
    "scalar": np.array(7, np.int64),
    "seed": np.array([1, 2**32 - 1], np.uint32),
    "empty": np.zeros((0, 3), np.float16),
    "flag": np.array(True),
    "text": np.array("äx"),
}


def test_arrays_and_meta_return_as_they_were(store):
    meta = {"best": float("nan"), "history": [{"epoch": 1, "loss": 0.1}], "none": None}
    store.save(0, 3, ARRAYS, meta)
    checkpoint = store.load_newest()
    assert checkpoint.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert checkpoint.arrays[name].dtype == array.dtype
        assert checkpoint.arrays[name].shape == array.shape
        assert checkpoint.arrays[name].tobytes() == array.tobytes()
    assert np.isnan(checkpoint.meta.pop("best"))
    assert checkpoint.meta == {"history": meta["history"], "none": None}


def test_the_file_is_an_ordinary_archive(store):
    with np.load(store.save(0, 1, {"w": np.ones(2)}, {})) as archive:
        np.testing.assert_array_equal(archive["a/w"], np.ones(2))


def test_two_are_kept_and_the_latest_position_is_the_newest(store):
    for epoch, batch in ((0, 9), (0, 10), (1, 0), (10, 0)):
        store.save(epoch, batch, {"w": np.ones(1)}, {"at": [epoch, batch]})
    assert [path.name for path in store.paths()] == [
        "checkpoint-000010-00000000.npz",
        "checkpoint-000001-00000000.npz",
    ]
    assert store.load_newest().meta["at"] == [10, 0]


def test_a_temporary_file_of_a_killed_process_is_ignored_and_removed(store):
    store.save(0, 1, {"w": np.ones(1)}, {})
    left = store.folder / ".checkpoint-000000-00000002.npz.tmp"
    left.write_bytes(b"PK half")
    assert store.load_newest().path.name == "checkpoint-000000-00000001.npz"
    store.save(0, 3, {"w": np.ones(1)}, {})
    assert not left.exists()


def damage_cut(content):
    return content[: len(content) // 2]


def damage_empty(content):
    return b""


def damage_bit(content):
    return content[:200] + bytes([content[200] ^ 1]) + content[201:]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (damage_cut, "does not end with its digest"),
        (damage_empty, r"\(0 bytes\)"),
        (damage_bit, "digest does not match"),
    ],
)
def test_a_damaged_newest_falls_back_to_the_one_before(store, damage, text):
    store.save(0, 1, {"w": np.full(50, 1.0)}, {})
    path = store.save(0, 2, {"w": np.full(50, 2.0)}, {})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=text):
        read_checkpoint(path)
    messages = []
    assert store.load_newest(messages.append).arrays["w"][0] == 1.0
    assert len(messages) == 1
    assert str(path) in messages[0]
    assert "Falling back to the checkpoint before it." in messages[0]


def test_all_damaged_is_an_error_that_names_the_fix(store):
    for batch in (1, 2):
        store.save(0, batch, {"w": np.ones(1)}, {}).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"No whole checkpoint in .*--overwrite"):
        store.load_newest()


def test_an_empty_folder_has_no_checkpoint(store):
    assert store.load_newest() is None


def test_a_newer_format_is_refused(store, monkeypatch):
    monkeypatch.setattr("kseg.training.checkpoint_store.FORMAT", 99)
    path = store.save(0, 1, {"w": np.ones(1)}, {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format 99; this version of kseg reads format 1"):
        read_checkpoint(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.npz cannot be read: No such file"):
        read_checkpoint(tmp_path / "gone.npz")


def test_keep_is_checked(tmp_path):
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        CheckpointStore(tmp_path, keep=0)
