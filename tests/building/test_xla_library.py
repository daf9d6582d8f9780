"""The states of the XLA bridge: whatever is wrong with it costs XLA, one warning, and nothing else."""

from __future__ import annotations

import json
import re

import pytest
import tensorflow as tf

import kseg
from kseg_ops import _library, build
from kseg_ops._toolchain import TensorFlow
from tests.helpers.kseg_ops_copy import RIGHT_COUNTS, copy_package, report_of

needs_bridge = pytest.mark.skipif(
    not _library.native_allowed() or not (_library.NATIVE_DIR / _library.XLA_NAME).is_file(),
    reason="about the compiled XLA bridge, which is not in use",
)

# Calls an op in a graph that XLA compiles, native if the bridge says that it can, and twice eagerly.
REPORT = """
import json, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", RuntimeWarning)
    import tensorflow as tf
    {before}
    import kseg_ops
    from kseg_ops import _graphs, _library
    def count():
        return kseg_ops.confusion_matrix(tf.constant([0, 1, 1, 255]), tf.constant([0, 1, 0, 1]), 2)
    counts = [count().numpy().tolist() for _ in range(2)]
    with _graphs.step_ops(compiled=True):
        compiled = tf.function(count, jit_compile=True)
        counts.append(compiled().numpy().tolist())
        used = [node.op for node in compiled.get_concrete_function().graph.as_graph_def().node]
    native = _library.native_op("confusion_matrix") is not None
texts = [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning) and str(w.message).startswith("kseg")]
print(json.dumps(dict(counts=counts, native=native, warnings=texts, xla="Kseg>ConfusionMatrix" in used,
                      problem=_library.xla_problem())))
"""


def run(path=None, before="", **environment):
    report = report_of(path, REPORT.format(before=before), **environment)
    assert report["counts"] == [RIGHT_COUNTS] * 3
    return report


def assert_off(report, pattern):
    assert report["native"]
    assert not report["xla"]
    assert len(report["warnings"]) == 1, report["warnings"]
    assert re.search(pattern, report["warnings"][0]), report["warnings"][0]
    assert "XLA cannot compile the compiled ops (all else works)" in report["warnings"][0]


@needs_bridge
def test_a_copy_works(tmp_path):
    copy_package(tmp_path)
    report = run(tmp_path)
    assert (report["native"], report["xla"], report["warnings"], report["problem"]) == (True, True, [], "")


@needs_bridge
def test_after_xla_was_used(tmp_path):
    """TensorFlow collects what XLA can compile at the first use in a process; kseg's ops come later here."""
    copy_package(tmp_path)
    report = run(tmp_path, "tf.function(lambda x: x + 1.0, jit_compile=True)(1.0)")
    assert report["xla"]


@needs_bridge
@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_truncated(tmp_path, keep):
    path = copy_package(tmp_path) / _library.XLA_NAME
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    assert_off(run(tmp_path), r"_xla\.so is truncated or damaged; `kseg build-ops`")


@needs_bridge
def test_missing(tmp_path):
    (copy_package(tmp_path) / _library.XLA_NAME).unlink()
    assert_off(run(tmp_path), r"it is not built; `kseg build-ops`")


@needs_bridge
def test_symbols_that_tensorflow_lacks(tmp_path):
    path = copy_package(tmp_path) / _library.XLA_NAME
    content = path.read_bytes()
    assert b"GetXlaFfiApi" in content
    path.write_bytes(content.replace(b"GetXlaFfiApi", b"GotXlaFfiApi"))
    assert_off(run(tmp_path), r"_xla\.so does not load \(.*\); `kseg build-ops`")


@needs_bridge
def test_another_tensorflow_minor_version(tmp_path):
    path = copy_package(tmp_path) / _library.XLA_NAME
    built_for = f"KSEG_BUILT_FOR_TENSORFLOW={tf.__version__};".encode()
    other = tf.__version__.replace("2.", "3.", 1)
    path.write_bytes(path.read_bytes().replace(built_for, f"KSEG_BUILT_FOR_TENSORFLOW={other};".encode()))
    assert_off(run(tmp_path), rf"built for TensorFlow {re.escape(other)}.*kseg build-ops")


@needs_bridge
def test_left_out_for_an_older_tensorflow_is_no_fault(tmp_path):
    native = copy_package(tmp_path)
    (native / _library.XLA_NAME).unlink()
    info = json.loads((native / "build_info.json").read_text())
    (native / "build_info.json").write_text(json.dumps(info | {"xla": "XLA support needs TensorFlow 2.20"}))
    report = run(tmp_path)
    assert (report["native"], report["xla"], report["warnings"]) == (True, False, [])
    assert report["problem"] == "XLA support needs TensorFlow 2.20"


def test_show_config_tells(monkeypatch):
    monkeypatch.setattr(_library, "xla_problem", lambda: "no bridge")
    assert "stock ops only" in kseg.show_config(verbose=False)["xla"]
    assert "(no bridge)" in kseg.show_config(verbose=False)["xla"]
    monkeypatch.setattr(_library, "xla_problem", lambda: "")
    assert kseg.show_config(verbose=False)["xla"].startswith("native ops")


def found(version, folder):
    return TensorFlow(version, [str(folder)], [], str(folder / "libtensorflow_framework.so.2"), False)


def test_what_a_build_looks_for(tmp_path):
    with pytest.raises(build.BuildError, match=r"XLA support needs TensorFlow 2\.20, this is 2\.19\.1"):
        found("2.19.1", tmp_path).find_xla()
    with pytest.raises(build.BuildError, match=r"comes without xla/ffi/api/ffi\.h"):
        found("2.20.0", tmp_path).find_xla()
    for header in ("xla/ffi/api/ffi.h", "xla/hlo/builder/xla_builder.h"):
        (tmp_path / header).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / header).touch()
    with pytest.raises(build.BuildError, match="has no libtensorflow_cc"):
        found("2.20.0", tmp_path).find_xla()
    (tmp_path / "libtensorflow_cc.so.2").touch()
    (tmp_path / "external/highwayhash").mkdir(parents=True)
    assert found("2.20.0", tmp_path).find_xla() == (
        [str(tmp_path / "external/highwayhash")],
        str(tmp_path / "libtensorflow_cc.so.2"),
    )


CLUSTERS = """
import json
import tensorflow as tf
import kseg_ops

@tf.function
def kept(boxes, scores):
    scores = tf.sqrt(scores) + 2 * scores
    return 2 * tf.gather(scores, kseg_ops.nms(boxes * 1.0 + 0.0 * tf.reduce_sum(boxes), scores, 0.5)) + 1

@tf.function
def classes(logits):
    logits = tf.boolean_mask(logits, logits[:, 0, 0, 0] > 0)
    return kseg_ops.resize_argmax(2 * tf.nn.relu(logits) + 1, (5, 5))

boxes = tf.constant([[0.0, 0, 3, 3], [0, 0, 3, 2.9], [5, 5, 9, 9]])
scores = kept(boxes, tf.constant([0.25, 0.36, 0.16])).numpy().tolist()
print(json.dumps([scores, classes(tf.ones([2, 3, 3, 2])).shape.as_list()]))
"""


@needs_bridge
def test_clusters_that_tensorflow_chooses_leave_out_what_xla_cannot_compile():
    flags = "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"
    scores, shape = report_of(None, CLUSTERS, TF_XLA_FLAGS=flags)
    assert scores == pytest.approx([2 * (0.6 + 0.72) + 1, 2 * (0.4 + 0.32) + 1])
    assert shape == [2, 5, 5]
