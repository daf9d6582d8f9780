"""The commands with models that find objects, in this process, on a tiny folder."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from kseg_cli.main import main
from PIL import Image

from kseg_ops import rle
from tests.helpers.object_files import write_squares

SMALL = ("--backbone=resnet18_quarter", "--pyramid-filters=8", "--anchor-size=12", "--no-deterministic")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_squares(tmp_path_factory.mktemp("data") / "squares", 6)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    arguments = ("--data", str(data), "--out", str(folder), "--val-count=2", "--epochs=1", "--batch-size=2")
    sides = ("--min-side=64", "--max-side=96")
    assert main(["train", "--task=instance", *arguments, *SMALL, *sides]) == 0
    return folder


def test_the_run_folder(trained):
    names = {path.name for path in trained.iterdir()}
    assert names >= {"best.keras", "last.keras", "config.json", "log.csv", "metrics.json", "curves.png", "report.html"}
    assert names >= {"overlays", "checkpoints", "tensorboard", "confusion_matrix_mask.png", "precision_recall_box.png"}
    content = json.loads((trained / "config.json").read_text())
    assert content["settings"]["model"] == "mask-rcnn"
    assert content["settings"]["lr"] == 3e-4
    assert content["facts"]["sides"] == [64, 96]
    assert content["facts"]["category_ids"] == [4, 9]
    assert content["facts"]["class_names"] == ["bright", "dark"]
    head = (trained / "log.csv").read_text().splitlines()[0].split(",")
    assert {"mask_loss", "val_mask_loss", "val_AP", "val_AP50", "learning_rate"} <= set(head)
    metrics = json.loads((trained / "metrics.json").read_text())
    assert [row["objects"] for row in metrics["mask"]["classes"]] == [2, 2]
    assert len(metrics["images"]) == 2
    assert metrics["best_epoch"] == metrics["epochs"] == 1
    overlays = sorted(path.name for path in (trained / "overlays").iterdir())
    assert len(overlays) == 2
    assert all(re.fullmatch(r"0[12]_worst_square0\d\.png", name) for name in overlays)
    report = (trained / "report.html").read_text()
    assert "Mask R-CNN on squares" in report
    assert "anchor size" in report
    assert "ignore index" not in report


def test_evaluate_repeats_the_figures_of_the_run(trained, tmp_path, capsys):
    assert main(["evaluate", str(trained), "--out", str(tmp_path)]) == 0
    figures = [json.loads((folder / "metrics.json").read_text()) for folder in (trained, tmp_path)]
    assert figures[0]["mask"] == figures[1]["mask"]
    assert figures[0]["box"] == figures[1]["box"]
    assert "bright" in capsys.readouterr().out


def test_evaluate_agrees_with_the_evaluation_of_the_predicted_results(trained, data, tmp_path):
    # The truth: some of what the model finds, so that it finds some of it.
    found, again = tmp_path / "found", tmp_path / "again"
    images = str(data / "images")
    annotations = data / "instances.json"
    assert main(["predict", str(trained), images, "--out", str(found), "--coco-annotations", str(annotations)]) == 0
    entries = json.loads((found / "detections.json").read_text())
    assert {entry["image_id"] for entry in entries} <= set(range(100, 106))
    areas = rle.area([entry["segmentation"] for entry in entries])
    chosen = [(entry, int(area)) for entry, area in zip(entries, areas, strict=True) if area > 0][::3]
    content = json.loads(annotations.read_text())
    content["annotations"] = [
        {**entry, "id": number, "area": area, "iscrowd": 0} for number, (entry, area) in enumerate(chosen, start=1)
    ]
    truth = tmp_path / "truth"
    shutil.copytree(data / "images", truth / "images")
    (truth / "instances.json").write_text(json.dumps(content))

    assert main(["evaluate", str(trained), "--data", str(truth), "--out", str(again)]) == 0
    of_files = ["--coco-annotations", str(truth / "instances.json"), "--coco-results", str(found / "detections.json")]
    assert main(["evaluate", *of_files, "--iou-type", "mask", "--out", str(tmp_path / "files")]) == 0
    first, second = (
        json.loads((folder / "metrics.json").read_text())["mask"] for folder in (again, tmp_path / "files")
    )
    assert sum(row["objects"] for row in first["classes"]) == len(chosen)
    assert first["figures"]["AP"] > 0.05
    assert first["figures"] == pytest.approx(second["figures"], abs=1e-9)


def test_predict(trained, data, tmp_path, capsys):
    images = [data / "images" / "square00.png", data / "images" / "square01.png"]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    assert main(["predict", str(trained), *map(str, [*images, broken]), "--out", str(tmp_path / "p"), "--score=0"]) == 2
    captured = capsys.readouterr()
    assert "broken.png" in captured.err
    assert "2 of 3 images written" in captured.out
    entries = json.loads((tmp_path / "p" / "detections.json").read_text())
    assert {entry["category_id"] for entry in entries} <= {4, 9}
    assert {(entry["image_id"], entry["file_name"]) for entry in entries} <= {(1, "square00.png"), (2, "square01.png")}
    assert all(entry["segmentation"]["size"] == [48, 64] for entry in entries)
    count = sum(entry["image_id"] == 1 for entry in entries)
    assert f"square00.png: {count} objects" in captured.out
    picture = np.asarray(Image.open(tmp_path / "p" / "square00_overlay.png"))
    assert picture.shape == (8 * 48, 8 * 64, 3)  # magnified
    assert not (tmp_path / "p" / "broken_overlay.png").exists()


def test_a_detector_of_boxes_on_generated_cells(tmp_path):
    cells = ("--cells", "--cells-train=2", "--cells-val=1", "--cells-size=64", "--epochs=1", "--batch-size=2")
    run = tmp_path / "run"
    assert main(["train", "--task=instance", "--model=faster-rcnn", *cells, *SMALL, "--out", str(run)]) == 0
    assert "mask" not in json.loads((run / "metrics.json").read_text())
    assert main(["evaluate", str(run)]) == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--cells", "--data", "."], "--cells: expected without --data, got --data . beside it."),
        (["--cells", "--model=unet"], "model: expected one of mask-rcnn, faster-rcnn for the task instance, got unet."),
        (["--cells", "--crop-size=64"], "crop_size: the task instance has no such setting, got 64; leave it out."),
        (["--cells", "--min-side=64"], "min_side, max_side: expected both or neither, got min_side 64 and max_side"),
        (["--cells", "--min-side=64", "--max-side=32"], "min_side: expected a value of at most max_side, got 64."),
    ],
)
def test_settings_that_do_not_fit(capsys, arguments, text):
    assert main(["train", "--task=instance", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_settings_of_objects_without_the_task(capsys):
    assert main(["train", "--cells", "--anchor-size=8"]) == 2
    assert "anchor_size: the task semantic has no such setting, got 8; leave it out." in capsys.readouterr().err


def test_arguments_that_do_not_fit_the_model(trained, data, tmp_path, capsys):
    for command, text in (
        (["evaluate", str(trained), "--boundary"], "--boundary: expected with a model of class maps"),
        (["evaluate", str(trained), "--min-side=64"], "--max-side: expected together with --min-side, got --min-side"),
        (["predict", str(trained), str(data / "images"), "--out=x", "--tta"], "--tta: expected with a model of class"),
    ):
        assert main(command) == 2
        assert text in capsys.readouterr().err
    other = write_squares(tmp_path / "other", 1) / "instances.json"
    content = json.loads(other.read_text())
    arguments = ["predict", str(trained), str(data / "images"), "--out=x", "--coco-annotations", str(other)]
    assert main(arguments) == 2
    assert "image_ids must have every image; 5 of 6 are missing, such as square01.png" in capsys.readouterr().err
    other.write_text(json.dumps({**content, "categories": content["categories"][:1]}))
    assert main(arguments) == 2
    assert "has no category 'dark', which the model finds" in capsys.readouterr().err
