"""`kseg evaluate --coco-results`."""

from __future__ import annotations

import json

import pytest
from kseg_cli.main import main

from kseg.metrics import CocoEvaluator
from tests.helpers.coco_data import random_coco


@pytest.fixture
def files(tmp_path):
    data, results = random_coco(0)
    paths = tmp_path / "truth.json", tmp_path / "found.json"
    for path, content in zip(paths, (data, results), strict=True):
        path.write_text(json.dumps(content))
    return [str(path) for path in paths]


def test_figures_table_and_report(files, tmp_path, capsys):
    command = ["evaluate", "--coco-annotations", files[0], "--coco-results", files[1], "--out", str(tmp_path / "out")]
    assert main([*command, "--iou-type", "box", "mask"]) == 0
    evaluator = CocoEvaluator.from_coco(*files, ["box", "mask"])
    figures = evaluator.result()
    printed = capsys.readouterr().out
    for name in ("box_AP", "mask_AP50", "mask_AR100", "box_AP_small"):
        assert f"{figures[name]:.3f}" in printed
    assert "thing 3" in printed
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(written) == ["box", "mask"]
    assert written["mask"]["figures"]["AP"] == figures["mask_AP"]
    assert figures["mask_AP_large"] == -1
    assert written["mask"]["figures"]["AP_large"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png") == 4
    for title in ("By size, box", "Per class, mask", "Confusion matrix, mask", "Precision and recall, box"):
        assert title in page
    assert f"{figures['mask_AR_small']:.4f}" in page


def test_the_type_follows_from_the_results(files, tmp_path, capsys):
    assert main(["evaluate", "--coco-annotations", files[0], "--coco-results", files[1]]) == 0
    assert capsys.readouterr().out.startswith("mask")
    boxes = [{key: value for key, value in row.items() if key != "segmentation"} for row in random_coco(0)[1]]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    assert main(["evaluate", "--coco-annotations", files[0], "--coco-results", str(tmp_path / "boxes.json")]) == 0
    assert capsys.readouterr().out.startswith("box")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "RUN_OR_MODEL: expected a run folder or a .keras file (or --coco-results), got nothing."),
        (["--coco-results", "TRUTH"], "--coco-annotations: expected a JSON file beside the other --coco option"),
        (["--coco-annotations", "TRUTH"], "--coco-results: expected a JSON file beside the other --coco option"),
        (["--coco-annotations", "TRUTH", "--coco-results", "/no"], "--coco-results: expected a JSON file, got /no"),
        (["run", "--coco-results", "TRUTH"], "--coco-results: expected without a model, got run."),
        (
            ["--coco-annotations", "TRUTH", "--coco-results", "TRUTH"],
            "results must be a list of dictionaries, got dict",
        ),
        (["--iou-type", "segm"], "--iou-type: invalid choice: 'segm'"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(files, capsys, arguments, text):
    assert main(["evaluate", *(files[0] if argument == "TRUTH" else argument for argument in arguments)]) == 2
    captured = capsys.readouterr()
    assert text in captured.err
    assert len(captured.err.splitlines()) == 1
