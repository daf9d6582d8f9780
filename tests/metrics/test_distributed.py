"""Metrics and models over two replicas: the same as over one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np

# Logical devices must be there before TensorFlow starts, hence a process of its own.
SCRIPT = """
import json
import numpy as np
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import kseg

rng = np.random.default_rng(0)
x, y = rng.integers(0, 256, (6, 8, 8, 3)).astype("float32"), rng.integers(0, 3, (6, 8, 8))
y[:, :2] = 255  # as many void pixels in each image: the mean over replicas is then the mean over all
# 6 images in batches of 4: the last batch gives each replica one image.
results, weights = [], None
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    with strategy.scope():
        images = keras.Input((8, 8, 3))
        model = kseg.SegmentationModel(
            images, keras.layers.Conv2D(3, 1)(kseg.layers.Normalize()(images)), num_classes=3)
        loss = kseg.losses.WeightedSum([kseg.losses.CrossEntropy(), kseg.losses.Focal()])
        model.compile(keras.optimizers.SGD(0.1), loss,
                      metrics=[kseg.metrics.ConfusionMatrix(3), kseg.metrics.MeanIoU(3), kseg.metrics.BoundaryIoU(3),
                               kseg.metrics.HausdorffDistance(3), kseg.metrics.CalibrationError(3)])
    if weights is None:
        weights = model.get_weights()
    model.set_weights(weights)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    logs = model.evaluate(dataset, verbose=0, return_dict=True)
    model.fit(dataset, epochs=2, verbose=0)
    results.append({
        "replicas": strategy.num_replicas_in_sync,
        "matrix": np.asarray(logs["confusion_matrix"]).tolist(),
        "mean_iou": float(logs["mean_iou"]),
        "others": [float(logs[k]) for k in ("boundary_iou", "hausdorff_distance", "calibration_error")],
        "loss": float(logs["loss"]),
        "keras_sums_metrics": hasattr(keras.metrics.Mean().variables[0], "synchronization"),
        "weights": np.concatenate([np.ravel(w) for w in model.get_weights()]).tolist(),
    })
print("RESULT", json.dumps(results))
"""


def test_two_replicas_equal_one():
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    line = next(line for line in run.stdout.splitlines() if line.startswith("RESULT"))
    one, two = json.loads(line.removeprefix("RESULT"))
    assert (one["replicas"], two["replicas"]) == (1, 2)
    assert two["matrix"] == one["matrix"]
    assert np.sum(one["matrix"]) == 6 * 8 * 6
    assert two["mean_iou"] == one["mean_iou"]
    assert min(one["others"]) > 0
    np.testing.assert_allclose(two["others"], one["others"], rtol=1e-6)  # results are float32
    # The oldest supported Keras logs the loss of the first replica only, and takes steps twice as long on two replicas,
    # with its own losses as with ours.
    if one["keras_sums_metrics"]:
        # Sums in another order, in float32; gradients of the wrong scale would be off by a factor of two.
        np.testing.assert_allclose(two["loss"], one["loss"], rtol=1e-5)
        np.testing.assert_allclose(two["weights"], one["weights"], rtol=1e-4, atol=1e-6)
