"""What a run that learns objects makes of its data folder."""

from __future__ import annotations

import json

import pytest

from kseg.data import DataError
from kseg.training.instance_task import InstanceTask
from kseg.training.run_config import ConfigError, RunConfig
from tests.helpers.object_files import write_squares


@pytest.fixture
def data(tmp_path):
    return write_squares(tmp_path / "squares", 4)


def task(data, model="mask-rcnn", **settings):
    return InstanceTask(RunConfig(task="instance", model=model, data=str(data), val_count=1, **settings))


def change(data, alter):
    path = data / "instances.json"
    content = json.loads(path.read_text())
    alter(content)
    path.write_text(json.dumps(content))


def without_masks(content):
    for entry in content["annotations"]:
        del entry["segmentation"]


def test_boxes_are_enough_for_faster_rcnn(data):
    change(data, without_masks)
    train, validation = task(data, "faster-rcnn").open_sources()
    assert sum(train.counts) + sum(validation.counts) == 8
    with pytest.raises(DataError, match=r"without a segmentation \(8\)(.|\n)*--model faster-rcnn"):
        task(data).open_sources()


def test_bad_annotations_can_be_skipped(data):
    change(data, lambda content: content["annotations"][0].update(category_id=5))
    with pytest.raises(DataError, match=r"category that is not listed \(1\)(.|\n)*--on-bad skip"):
        task(data).open_sources()
    with pytest.warns(UserWarning, match=r"left out: annotations of a category that is not listed \(1\)"):
        sources = task(data, on_bad="skip").open_sources()
    assert sum(sum(source.counts) for source in sources) == 7
    with pytest.raises(ConfigError, match="on_bad: the task semantic has no such setting"):
        RunConfig(on_bad="skip")


def test_images_are_read_before_training(data):
    ours = task(data)
    ours.open_sources()
    ours.check_data(print)
    broken = sorted((data / "images").iterdir())[1:3]  # whichever half they are in
    for path in broken:
        path.write_bytes(path.read_bytes()[:-400])
    ours.open_sources()  # the headers are sound
    with pytest.raises(DataError) as caught:
        ours.check_data(print)
    assert all(str(path) in str(caught.value) for path in broken)


def test_nothing_to_learn_from(data):
    change(data, lambda content: content.update(annotations=[]))
    ours = task(data)
    ours.open_sources()
    with pytest.raises(DataError, match="squares: none of the 3 training images has an object"):
        ours.check_data(print)
