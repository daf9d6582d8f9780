from __future__ import annotations

from kseg.training.history_file import read_history, write_history


def test_rows_return_with_all_their_digits(tmp_path):
    rows = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": 1e-30, "val_loss": float("inf")}]
    assert read_history(write_history(rows, tmp_path / "log.csv")) == rows


def test_writing_again_replaces(tmp_path):
    path = tmp_path / "log.csv"
    write_history([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}], path)
    write_history([{"epoch": 1, "loss": 1.0}], path)
    assert path.read_text() == "epoch,loss\n1,1.0\n"
    assert [file.name for file in tmp_path.iterdir()] == ["log.csv"]
