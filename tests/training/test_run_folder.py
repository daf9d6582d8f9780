from __future__ import annotations

import pytest

from kseg.training.run_folder import RunFolder, RunFolderError


def test_a_new_folder_is_made(tmp_path):
    RunFolder(tmp_path / "a" / "b").create()
    assert (tmp_path / "a" / "b").is_dir()


def test_a_run_is_not_replaced_unasked(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunFolderError, match=r"holds a run already; continue it with --resume .*--overwrite"):
        RunFolder(tmp_path).create()


def test_overwriting_removes_what_a_run_writes_and_nothing_else(tmp_path):
    for name in ("config.json", "log.csv", "notes.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "checkpoints").mkdir()
    RunFolder(tmp_path).create(overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_that_is_no_run_is_never_cleared(tmp_path):
    (tmp_path / "log.csv").write_text("mine")
    with pytest.raises(RunFolderError, match="holds other files and is no run folder"):
        RunFolder(tmp_path).create(overwrite=True)
    assert (tmp_path / "log.csv").read_text() == "mine"


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="is a file; expected a folder"):
        RunFolder(tmp_path / "file").create()
