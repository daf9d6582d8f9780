from __future__ import annotations

import dataclasses

import pytest

from kseg.data import argument_checks
from kseg.training import run_config
from kseg.training.run_config import ConfigError, RunConfig


def test_settings_return_from_the_file(tmp_path):
    config = RunConfig(data="somewhere", epochs=3, ignore_index=None, lr=3e-4)
    config.save(tmp_path / "config.json", {"classes": 4})
    assert RunConfig.load(tmp_path / "config.json") == (config, {"classes": 4})


@pytest.mark.parametrize(
    ("setting", "value", "text"),
    [
        ("epochs", 0, "epochs: expected a value at least 1, got 0"),
        ("depth", 12, "depth: expected a value from 1 to 8, got 12"),
        ("lr", -0.1, r"lr: expected a value above 0, got -0\.1"),
        ("dropout", 1.0, r"dropout: expected a value from 0 to below 1, got 1\.0"),
        (
            "loss",
            "mse",
            "loss: expected one of ce, dice, .*, ohem, or a sum such as ce\\+dice or dice\\+0.01\\*boundary, got 'mse'",
        ),
        ("crop_size", 0, "crop_size: expected a value at least 1, got 0"),
        ("crop_around", "classes", r"crop_around: classes needs crop_size \(say, 256\), got none"),
        ("crop_around", "edges", "crop_around: expected one of anywhere, foreground, classes, got 'edges'"),
        ("crop_share", 0.0, r"crop_share: expected a value above 0 and at most 1, got 0\.0"),
        ("class_weights", "enet2", "class_weights: expected one of none, inverse-frequency, median-frequency, enet"),
        ("num_classes", 2_000_000_000, "num_classes: expected a value from 1 to 65536, got 2000000000"),
        ("batch_size", "4", "batch_size: expected int, got '4'"),
        ("jit", 1, "jit: expected bool, got 1"),
        ("seed", -1, "seed: expected a value from 0 to 2147483647, got -1"),
    ],
)
def test_values_are_checked(setting, value, text):
    with pytest.raises(ConfigError, match=text):
        RunConfig(**{setting: value})


def test_a_folder_without_settings_is_no_run_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"is not a run folder: it has no config\.json"):
        RunConfig.load(tmp_path / "config.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": {"colour": 1}}'])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match="is not the settings of a run"):
        RunConfig.load(tmp_path / "config.json")


def test_conflicts_name_the_argument_and_both_values(tmp_path):
    config = RunConfig(data=str(tmp_path), batch_size=4)
    assert config.conflicts({"batch_size": 4, "data": f"{tmp_path}/../{tmp_path.name}"}) == []
    assert config.conflicts({"batch_size": 8, "lr": 0.5}) == [
        "--batch-size is 4 in this run, got 8",
        "--lr is 0.001 in this run, got 0.5",
    ]


def test_every_setting_is_documented():
    for field in dataclasses.fields(RunConfig):
        assert field.name in RunConfig.__doc__.split("Raises:")[0]


def test_the_limit_on_classes_is_that_of_the_data():
    assert run_config.MAX_CLASSES == argument_checks.MAX_CLASSES
