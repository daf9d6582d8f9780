from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.callbacks import PredictionLog


def test_fit_writes_scalars_and_pictures_every_so_often(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(2, 1)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = np.zeros((2, 8, 8, 1), np.float32)
    masks = np.zeros((2, 8, 8), np.int32)
    large = (np.zeros((40, 30, 1), np.uint8), np.zeros((40, 30), np.uint8))
    log = PredictionLog(tmp_path, [large], every=2, max_side=16)
    model.fit(images, masks, validation_data=(images, masks), epochs=3, verbose=0, callbacks=[log])
    steps = {"train": {}, "validation": {}}
    for part, found in steps.items():
        for path in (tmp_path / part).iterdir():
            for record in tf.data.TFRecordDataset(str(path)):
                event = tf.compat.v1.Event.FromString(record.numpy())
                for value in event.summary.value:
                    found.setdefault(value.tag, []).append(event.step)
                    if value.tag.startswith("prediction"):
                        width, height, picture = value.tensor.string_val
                        assert tf.io.decode_png(picture).shape == (int(height), int(width), 3)
    assert steps == {"train": {"loss": [1, 2, 3]}, "validation": {"loss": [1, 2, 3], "prediction_0": [1, 3]}}


def test_every_is_checked(tmp_path):
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        PredictionLog(tmp_path, every=0)
