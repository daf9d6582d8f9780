"""The commands in this process, on a tiny folder and a tiny model."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from kseg_cli.main import main
from PIL import Image

from tests.helpers.coco_files import annotation_entry, image_entry, write_coco
from tests.helpers.data_files import write_pair

SETTINGS = (
    "--val-count=4",
    "--filters=4",
    "--depth=2",
    "--epochs=2",
    "--batch-size=4",
    "--lr=0.01",
    "--no-deterministic",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(1)
    for index in range(16):
        mask = np.zeros((32, 32), np.uint8)
        row, column = random.integers(2, 16, 2)
        mask[row : row + 14, column : column + 14] = 1
        mask[0, :3] = 255
        write_pair(root, f"im{index:02d}", (60 + 120 * (mask == 1)).astype(np.uint8), mask)
    (root / "classes.txt").write_text("ground\nsquare\n")
    return root


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "--data", str(data), "--out", str(folder), *SETTINGS]) == 0
    return folder


@pytest.fixture(autouse=True)
def _no_determinism_for_the_whole_process(monkeypatch):
    # It cannot be switched off again, and Keras refuses jit_compile beside it: tests of other modules would suffer.
    import tensorflow as tf

    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)


def test_train_with_settings_for_rare_classes(data, tmp_path):
    rare = ("--crop-size=16", "--crop-around=classes", "--crop-share=0.7", "--class-weights=median-frequency")
    folder = tmp_path / "run"
    assert main(["train", "--data", str(data), "--out", str(folder), *SETTINGS, "--epochs=1", *rare]) == 0
    settings = json.loads((folder / "config.json").read_text())["settings"]
    assert (settings["crop_around"], settings["crop_share"], settings["class_weights"]) == (
        *("classes", 0.7),
        "median-frequency",
    )


def test_crops_around_something_need_a_size(data, tmp_path, capsys):
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "run"), "--crop-around=foreground"]) == 2
    assert "crop_around: foreground needs crop_size (say, 256), got none." in capsys.readouterr().err


def test_train_fills_the_run_folder(trained):
    names = {path.name for path in trained.iterdir()}
    assert names == {
        *("config.json", "metrics.json", "log.csv", "tensorboard", "checkpoints", "best.keras", "last.keras"),
        *("curves.png", "confusion_matrix.png", "overlays", "report.html"),
    }
    metrics = json.loads((trained / "metrics.json").read_text())
    matrix = np.array(metrics["confusion_matrix"])
    assert matrix.sum() == 4 * (32 * 32 - 3)  # four images without their void pixels
    hits = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hits
    assert metrics["mean_iou"] == pytest.approx(np.nanmean(hits / np.where(union, union, np.nan)))
    assert [entry["name"] for entry in metrics["classes"]] == ["ground", "square"]
    with open(trained / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "mean_iou", "val_loss", "val_mean_iou", "learning_rate", "seconds"} <= rows[0].keys()
    assert len(list((trained / "overlays").glob("*.png"))) == 4
    facts = json.loads((trained / "config.json").read_text())["facts"]
    assert (facts["train_images"], facts["val_images"], facts["classes"], facts["channels"]) == (12, 4, 2, 1)


def test_tensorboard_holds_scalars_and_pictures(trained):
    import tensorflow as tf

    found = {}
    for part in ("train", "validation"):
        tags = set()
        for path in (trained / "tensorboard" / part).iterdir():
            for record in tf.data.TFRecordDataset(str(path)):
                event = tf.compat.v1.Event.FromString(record.numpy())
                tags |= {(value.metadata.plugin_data.plugin_name, value.tag) for value in event.summary.value}
        found[part] = tags
    assert {("scalars", "loss"), ("scalars", "mean_iou"), ("scalars", "learning_rate")} <= found["train"]
    assert {("scalars", "loss"), ("scalars", "mean_iou"), ("images", "prediction_0")} <= found["validation"]


def test_a_run_is_not_replaced_unasked(data, trained, capsys):
    assert main(["train", "--data", str(data), "--out", str(trained), *SETTINGS]) == 2
    assert f"continue it with --resume {trained}, replace it with --overwrite" in capsys.readouterr().err


def test_resume_refuses_other_data(trained, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    content = json.loads((copy / "config.json").read_text())
    content["facts"]["train_images"] = 99
    (copy / "config.json").write_text(json.dumps(content))
    assert main(["train", "--resume", str(copy)]) == 2
    assert (
        "data: the number of training images changed since this run began (99 then, 12 now)" in capsys.readouterr().err
    )


def test_evaluate_repeats_the_figures_of_the_run(trained, tmp_path, capsys):
    assert main(["evaluate", str(trained), "--out", str(tmp_path)]) == 0
    expected = json.loads((trained / "metrics.json").read_text())
    got = json.loads((tmp_path / "metrics.json").read_text())
    assert got["confusion_matrix"] == expected["confusion_matrix"]
    assert "square" in capsys.readouterr().out
    assert (tmp_path / "report.html").is_file()


def test_evaluate_on_a_folder(trained, data, tmp_path):
    assert main(["evaluate", str(trained / "last.keras"), "--data", str(data), "--out", str(tmp_path)]) == 0
    assert len(json.loads((tmp_path / "metrics.json").read_text())["images"]) == 16


def test_evaluate_with_further_figures(trained, data, tmp_path, capsys):
    command = ["evaluate", str(trained / "last.keras"), "--data", str(data), "--out", str(tmp_path)]
    assert main([*command, "--boundary", "--surface", "--spacing", "0.5", "2", "--calibration"]) == 0
    printed = capsys.readouterr().out
    for title in ("precision", "frequency-weighted IoU", "HD95", "calibration error"):
        assert title in printed
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert {"boundary_iou", "hd95", "average_surface_distance", "precision", "accuracy"} <= set(content["classes"][0])
    assert 0 <= content["calibration_error"] <= 1
    assert "boundary IoU" in (tmp_path / "report.html").read_text()


def test_evaluate_spacing_needs_surface(trained, capsys):
    assert main(["evaluate", str(trained), "--spacing", "1", "1"]) == 2
    assert "--spacing: expected together with --surface" in capsys.readouterr().err


def test_predict_files(trained, data, tmp_path, capsys):
    command = ["predict", str(trained), str(data / "images"), "--out", str(tmp_path), "--tile", "32", "--tta"]
    assert main([*command, "--probabilities"]) == 0
    assert np.asarray(Image.open(tmp_path / "im00.png")).shape == (32, 32)
    assert (tmp_path / "im00_overlay.png").is_file()
    assert (tmp_path / "im00_probabilities.npy").is_file()
    assert "16 of 16 images written" in capsys.readouterr().out


def test_predict_at_several_scales(trained, data, tmp_path, capsys):
    command = ["predict", str(trained), str(data / "images" / "im00.png"), "--no-overlay", "--out"]
    assert main([*command, str(tmp_path / "a"), "--scales", "0.5,1", "--flips", "horizontal", "--probabilities"]) == 0
    assert main([*command, str(tmp_path / "b"), "--probabilities"]) == 0
    scaled, plain = (np.load(tmp_path / name / "im00_probabilities.npy") for name in "ab")
    assert scaled.shape == plain.shape
    assert np.abs(scaled - plain).max() > 1e-3
    np.testing.assert_allclose(scaled.sum(-1), 1, atol=1e-5)
    capsys.readouterr()
    assert main([*command, str(tmp_path / "c"), "--tta", "--flips", "both"]) == 2
    assert "--flips: --tta contains all flips already, got --flips both beside it" in capsys.readouterr().err
    for text in ("0,1", "1,1", "a", "17"):
        assert main([*command, str(tmp_path / "c"), "--scales", text]) == 2
        expected = f"--scales: expected different numbers above 0 and at most 16, separated by commas, got {text!r}"
        assert expected in capsys.readouterr().err


def test_predict_tells_of_a_file_that_cannot_be_read(trained, data, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    code = main(["predict", str(trained), str(broken), str(data / "images" / "im00.png"), "--out", str(tmp_path / "o")])
    captured = capsys.readouterr()
    assert code == 2
    assert "broken.png" in captured.err
    assert "1 of 2 images written" in captured.out


def test_predict_overlap_needs_tile(trained, data, capsys):
    assert main(["predict", str(trained), str(data), "--out", "x", "--overlap", "8"]) == 2
    assert "--overlap: expected together with --tile" in capsys.readouterr().err


def test_export(trained, tmp_path, capsys):
    assert main(["export", str(trained), str(tmp_path / "served")]) == 0
    assert (tmp_path / "served" / "saved_model.pb").is_file()
    assert main(["export", str(trained), str(tmp_path / "served")]) == 2
    assert "OUT: expected a folder that does not exist or is empty" in capsys.readouterr().err


def test_check_data(data, tmp_path, capsys):
    assert main(["check-data", str(data)]) == 0
    assert "16" in capsys.readouterr().out
    write_pair(tmp_path, "a", np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8))
    write_pair(tmp_path, "b", np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8))
    assert main(["check-data", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert "b.png" in captured.out
    assert "problem" in captured.err


def test_check_data_of_a_coco_file(tmp_path, capsys):
    folder, path = write_coco(tmp_path, [image_entry(1), image_entry(2)], [annotation_entry(1), annotation_entry(2)])
    assert main(["check-data", str(path)]) == 0
    assert "class 0 cat: 2" in capsys.readouterr().out
    assert main(["check-data", str(path), "--num-classes", "2"]) == 2
    assert f"--num-classes: expected together with a folder of masks, got {path}." in capsys.readouterr().err
    (folder / "im2.png").unlink()
    folder.rename(tmp_path / "photographs")
    assert main(["check-data", str(path), "--images", str(tmp_path / "photographs")]) == 2
    captured = capsys.readouterr()
    assert "problem: images whose file does not exist (1)" in captured.out
    assert captured.err == f"kseg check-data: 1 problem in {path}, listed above.\n"
    # Without --images, the folder of the file itself stands in for one named "images".
    assert main(["check-data", str(path)]) == 2
    assert "images whose file does not exist (2)" in capsys.readouterr().out


def test_check_data_of_a_folder_with_annotations(tmp_path, capsys):
    _, path = write_coco(tmp_path, [image_entry(1), image_entry(2)], [annotation_entry(1), annotation_entry(2)])
    assert main(["check-data", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith(f"{path}\nimages: 2, 1 of them without an object\n")
    assert main(["check-data", str(tmp_path), "--task", "instance", "--num-classes", "2"]) == 2
    assert f"--num-classes: expected together with a folder of masks, got {tmp_path}." in capsys.readouterr().err
    assert main(["check-data", str(tmp_path), "--task", "semantic"]) == 2
    assert "masks_dir: no such folder" in capsys.readouterr().out
    assert main(["train", "--data", str(tmp_path)]) == 2
    assert "holds annotations of objects and no masks: pass --task instance to learn them." in capsys.readouterr().err
    (tmp_path / "masks").mkdir()
    assert main(["check-data", str(tmp_path)]) == 2  # both are there: the masks, as in training
    assert "pairs: 0" in capsys.readouterr().out
    assert main(["check-data", str(tmp_path), "--task", "instance"]) == 0
    (tmp_path / "images" / "im2.png").unlink()
    assert main(["check-data", str(tmp_path), "--task", "instance"]) == 2
    assert capsys.readouterr().err == f"kseg check-data: 1 problem in {tmp_path}, listed above.\n"


def test_train_reads_the_files_before_it_starts(tmp_path, capsys):
    for index in range(4):
        noise = np.random.default_rng(index).integers(0, 256, (16, 16), np.uint8)
        write_pair(tmp_path, f"{index}", noise, np.eye(16, dtype=np.uint8))
    for index in (1, 2):
        path = tmp_path / "images" / f"{index}.png"
        path.write_bytes(path.read_bytes()[:150])
    assert main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    text = capsys.readouterr().err
    assert "2 problems" in text
    assert "1.png" in text
    assert "2.png" in text
    assert not (tmp_path / "run").exists()


def test_images_of_several_sizes_need_a_crop(tmp_path, capsys):
    for index, side in enumerate((16, 16, 24, 24)):
        write_pair(tmp_path, f"{index}", np.zeros((side, side), np.uint8), np.eye(side, dtype=np.uint8))
    assert main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "crop_size: the images have 2 different sizes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["predict", "evaluate", "export"])
def test_a_damaged_model_file(trained, data, tmp_path, capsys, command):
    path = tmp_path / "m.keras"
    rest = {
        "predict": [str(data / "images"), "--out", str(tmp_path / "out")],
        "evaluate": ["--data", str(data)],
        "export": [str(tmp_path / "out")],
    }[command]
    whole = (trained / "best.keras").read_bytes()
    middle = len(whole) // 2
    for content in (b"nothing", whole[:-200], whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]):
        path.write_bytes(content)
        assert main([command, str(path), *rest]) == 2
        text = capsys.readouterr().err
        assert f"RUN_OR_MODEL: {path} is damaged (not a whole .keras archive" in text
        assert len(text.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_archive_that_is_no_model(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    assert main(["export", str(tmp_path / "m.keras"), str(tmp_path / "out")]) == 2
    assert "is no model (an archive without model.weights.h5)" in capsys.readouterr().err
    with zipfile.ZipFile(tmp_path / "m.keras", "a") as archive:
        archive.writestr("model.weights.h5", "")
    assert main(["export", str(tmp_path / "m.keras"), str(tmp_path / "out")]) == 2
    assert "cannot be loaded as a Keras model" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a folder in which nothing can be made, whoever asks")
def test_an_export_to_where_nothing_can_be_written(trained, capsys):
    assert main(["export", str(trained), "/proc/x"]) == 2
    text = capsys.readouterr().err
    assert text.startswith("kseg export: cannot write to /proc/x: ")
    assert len(text.splitlines()) == 1


def test_resume_without_the_best_model(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "best.keras").unlink()
    assert main(["train", "--resume", str(tmp_path / "run")]) == 2
    text = capsys.readouterr().err
    assert "best.keras does not exist" in text
    assert "Restore it from a copy, or start again with --overwrite." in text


def test_show_config(capsys):
    assert main(["show-config"]) == 0
    assert "tensorflow" in capsys.readouterr().out.lower()


def test_demo_on_a_folder_of_ones_own(data, tmp_path, capsys):
    code = main(["demo", "--data", str(data), "--out", str(tmp_path / "demo"), "--epochs", "1"])
    text = " ".join(capsys.readouterr().out.split())
    assert code == 0, text
    assert "mean IoU, U-Net" in text
    assert "Otsu + watershed" in text
    assert "Export reloaded in a process without kseg: 100 % of pixels" in text
    assert (tmp_path / "demo" / "report.html").is_file()
