"""What the command line says without starting TensorFlow."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from kseg_cli import train
from kseg_cli.main import COMMANDS, main

from kseg.training.loss_sums import LOSSES
from kseg.training.run_config import CHOICES, RunConfig


def test_help_imports_neither_tensorflow_nor_kseg():
    script = (
        "import sys\n"
        "from kseg_cli.main import COMMANDS, main\n"
        "assert main(['--help']) == 0\n"
        "for command in COMMANDS:\n"
        "    assert main([command, '--help']) == 0, command\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'kseg', 'kseg_ops', 'matplotlib', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "kseg: COMMAND: expected one of demo, check-data, train"),
        (["tarin"], "kseg: COMMAND: invalid choice: 'tarin'"),
        (["train", "--epochs", "many"], "kseg train: --epochs: expected a whole number of at least 1, got 'many'"),
        (["train", "--epochs", "0"], "kseg train: --epochs: expected a whole number of at least 1, got '0'"),
        (["train", "--lr", "0"], "kseg train: --lr: expected a number above 0, got '0'"),
        (["train", "--dropout", "1"], "kseg train: --dropout: expected a number of at least 0 and below 1, got '1'"),
        (["train", "--lr", "nan"], "kseg train: --lr: expected a number above 0, got 'nan'"),
        (["train", "--loss", "mse"], "kseg train: --loss: expected one of ce, dice, focal, jaccard"),
        (["train", "--loss", "ce+0*dice"], "a sum of them such as ce+dice or ce+0.1*dice, got 'ce+0*dice'"),
        (["train", "--loss", "ce+"], "kseg train: --loss: expected one of ce, dice"),
        (["train", "--model", "vgg"], "kseg train: --model: invalid choice: 'vgg' (choose from"),
        (["train", "--backbone", "resnet20"], "kseg train: --backbone: invalid choice: 'resnet20' (choose from"),
        (["train", "--crop-around", "edges"], "kseg train: --crop-around: invalid choice: 'edges' (choose from"),
        (["train", "--crop-share", "0"], "kseg train: --crop-share: expected a number above 0"),
        (["train", "--class-weights", "3"], "kseg train: --class-weights: invalid choice: '3' (choose from"),
        (["train", "--ignore-index", "void"], "--ignore-index: expected a whole number or \"none\", got 'void'"),
        (
            ["train", "--mask-values", "255"],
            "--mask-values: expected value=class pairs such as \"0=0,255=1\", got '255'",
        ),
        (["train", "--checkpoint-every", "often"], '--checkpoint-every: expected a number of batches ("100") or of'),
        (["train", "--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["train"], "kseg train: --data: expected a data folder, got nothing."),
        (
            ["train", "--data", "/no/where"],
            "kseg train: --data: expected a folder, got /no/where, which does not exist.",
        ),
        (["train", "--resume", "/no/where"], "kseg train: --resume: expected a run folder, got /no/where"),
        (
            ["train", "--num-classes", "2000000000"],
            "kseg train: --num-classes: expected a whole number from 1 to 65536, got '2000000000'",
        ),
        (["check-data", "d", "--num-classes", "0"], "--num-classes: expected a whole number from 1 to 65536, got '0'"),
        (["check-data", __file__], f"DIR: expected a data folder, got {__file__}, which is a file, not a folder."),
        (["train", "--data", __file__], f"--data: expected a folder, got {__file__}, which is a file, not a folder."),
        (["demo", "--data", "/no/where"], "kseg demo: --data: expected a folder, got /no/where"),
        (["check-data", "/no/where"], "kseg check-data: DIR: expected a data folder, got /no/where"),
        (
            ["check-data", "d", "--images", "e"],
            "--images: expected together with a .json file in COCO's format, got d.",
        ),
        (["check-data", "/no/where.json"], "DIR: expected a data folder, got /no/where.json, which does not exist."),
        (["evaluate", "/no/where"], "kseg evaluate: RUN_OR_MODEL: /no/where does not exist"),
        (["predict", "/no/where", "x", "--out", "y"], "kseg predict: RUN_OR_MODEL: /no/where does not exist"),
        (["predict", "x"], "kseg predict: the following arguments are required: IMAGES, --out"),
        (["export", "/no/where", "out"], "kseg export: RUN_OR_MODEL: /no/where does not exist"),
        (["export", "x", "out", "--ops", "cuda"], "kseg export: --ops: invalid choice: 'cuda'"),
        (
            ["export", "x", "out", "--size", "0", "8"],
            "kseg export: --size: expected a whole number of at least 1, got '0'",
        ),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(capsys, arguments, text):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert text in captured.err
    assert len(captured.err.splitlines()) == 1


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("kseg")


def test_every_setting_has_an_argument_and_the_help_tells_its_true_default():
    fields = {field.name: field.default for field in dataclasses.fields(RunConfig)}
    for name, shown in train.DEFAULTS.items():
        assert shown == str(fields[name]), name
    # Left out: what only the demo sets, what defaults to nothing, and the two switches.
    rest = fields.keys() - train.DEFAULTS.keys()
    assert rest == {
        *("data", "val_count", "num_classes", "mask_suffix", "mask_values", "crop_size", "jit", "deterministic"),
        *("backbone", "anchor_size", "min_side", "max_side"),
        *("cells_train", "cells_val", "cells_size"),
    }


def test_the_choices_are_those_of_the_settings():
    from kseg_cli.arguments import OneLineParser

    parser = OneLineParser()
    train.add_arguments(parser)
    offered = {action.dest: action.choices for action in parser._actions if action.choices}
    assert {name: tuple(choices) for name, choices in offered.items()} == CHOICES
    assert tuple(LOSSES) == train.LOSSES


def test_an_existing_folder_that_is_no_run(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "is no run folder: it holds neither best.keras nor last.keras" in capsys.readouterr().err
    (tmp_path / "config.json").write_text("{}")
    assert main(["predict", str(tmp_path), str(tmp_path), "--out", "x"]) == 2
    assert f"has no model yet; continue it with kseg train --resume {tmp_path}" in capsys.readouterr().err
    (tmp_path / "saved_model.pb").write_text("")
    assert main(["export", str(tmp_path), "x"]) == 2
    assert "is an exported SavedModel; expected a run folder or a .keras file" in capsys.readouterr().err


def test_a_file_that_is_no_model(tmp_path, capsys):
    (tmp_path / "m.h5").write_text("")
    assert main(["export", str(tmp_path / "m.h5"), "x"]) == 2
    assert "expected a run folder or a .keras file, got" in capsys.readouterr().err


def test_resume_contradicted_by_out_or_overwrite(tmp_path, capsys):
    assert main(["train", "--resume", str(tmp_path), "--out", "elsewhere"]) == 2
    assert "--out: the run continues in" in capsys.readouterr().err
    assert main(["train", "--resume", str(tmp_path), "--overwrite"]) == 2
    assert "--overwrite: expected not to be given with --resume" in capsys.readouterr().err


def test_resume_contradicted_by_a_setting_names_it(tmp_path, capsys):
    RunConfig(data="d", batch_size=4).save(tmp_path / "config.json")
    assert main(["train", "--resume", str(tmp_path), "--batch-size", "8", "--epochs", "50"]) == 2
    text = capsys.readouterr().err
    assert "--batch-size is 4 in this run, got 8" in text
    assert "--epochs" not in text


def test_benchmark_without_a_checkout(monkeypatch, tmp_path, capsys):
    import importlib.util
    import types

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: types.SimpleNamespace(origin=tmp_path / "a" / "b.py"))
    assert main(["benchmark"]) == 2
    assert "the benchmarks come with the source code" in capsys.readouterr().err


def test_tracebacks_on_demand(monkeypatch):
    monkeypatch.setenv("KSEG_DEBUG", "1")
    with pytest.raises(ValueError, match="--data: expected a data folder"):
        main(["train"])


def test_an_unexpected_error_is_one_line_and_exit_code_1(monkeypatch, capsys):
    def fail(arguments):
        raise AttributeError("no such thing\nsecond line")

    monkeypatch.setattr("kseg_cli.show_config.run", fail)
    assert main(["show-config"]) == 1
    text = "kseg show-config: unexpected AttributeError: no such thing (KSEG_DEBUG=1 shows where)\n"
    assert capsys.readouterr().err == text


def test_ctrl_c_outside_training(monkeypatch, capsys):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("kseg_cli.show_config.run", interrupt)
    assert main(["show-config"]) == 130
    assert "interrupted" in capsys.readouterr().err
