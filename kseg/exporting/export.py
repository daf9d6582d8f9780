"""`kseg.export`: a model as a SavedModel for TensorFlow Serving and everything else that loads one."""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

import kseg_ops
from kseg.exporting.detection_graph import DetectionGraph
from kseg.exporting.serving_graph import ServingGraph
from kseg.models import FasterRCNN
from kseg_ops import _graphs

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Export:
    """What was exported.

    Attributes:
        path: the SavedModel's folder.
        signatures: for each signature its input and outputs as `name: dtype shape`.
        custom_ops: ops in the graph that stock TensorFlow does not have; empty for `ops="reference"`.
        server_needs: one sentence on what a process must have to load the model.
    """

    path: Path
    signatures: dict[str, dict[str, str]]
    custom_ops: tuple[str, ...]
    server_needs: str


def export(model, path, ops="reference", size=None, overwrite=False) -> Export:
    """Exports a model as a SavedModel whose graph holds everything from raw images to class maps or detections.

    Signatures, `classes_*` for the class map and `probabilities_*` for softmax (sigmoid for one class) probabilities:

    | name | input | there when |
    |---|---|---|
    | `*_uint8` | `images`, uint8 `[B, H, W, C]` | the model's `input_range` ends at 255 (or between 2 and 255) |
    | `*_uint16` | `images`, uint16 `[B, H, W, C]` | it ends above 255 |
    | `*_encoded` | `image_bytes`, string `[B]`: JPEG, PNG, BMP, GIF | as `*_uint8`, and 1, 3 or 4 (PNG only) channels |
    | `*_float` | `images`, float32 `[B, H, W, C]` in the model's `input_range` | always |
    | `serving_default` | the first `classes_*` or `detections_*` of this list | always |

    Outputs: `classes`, uint8 `[B, H, W]` (uint16 or int32 above 256 or 65536 classes), with one output channel 1 where
    the logit is above 0; or `probabilities`, float32 `[B, H, W, num_classes]`. Batch, height and width are free, unless
    the model fixes them. A model with valid padding gets its images mirrored at the border, as in `kseg.predict`.
    Encoded images are decoded by TensorFlow: 16-bit files are cut to 8 bits, EXIF orientation is not applied, palettes
    become colours.

    Encoded images of one batch must have equal sizes, else InvalidArgument. With `size` they may differ: every image is
    resized to `size` (bilinear with antialiasing), the logits are resized back (bilinear), and the results of smaller
    images are padded with `ignore_index` (0 if there is none, and probabilities) to the largest of the batch; a second
    output `sizes`, int32 `[B, 2]`, says where they end.

    Signatures of a `kseg.FasterRCNN` or `kseg.MaskRCNN`, with the same inputs: `detections_*`, and for raw images also
    `detections_*_sizes` with a second input `sizes`, int32 `[B, 2]`, the heights and widths without padding at the
    bottom and the right. Outputs are those of the model: `boxes`, float32 `[B, D, 4]`, `scores`, float32 `[B, D]`,
    `classes`, int32 `[B, D]`, -1 for padding, and of a `MaskRCNN` `masks`, float32 `[B, D, 28, 28]`, probabilities in
    the frames of the boxes. Encoded images may always differ in size: they are padded to the largest of the batch, and
    `sizes` is a further output. With `size`, each image is fitted into it with its proportions kept, bilinearly as in
    `kseg.predict_instances`, and the boxes are in pixels of the image as it came.

    The folder also gets `assets.extra/kseg_export.json` with these facts, class names and versions, of a detector also
    thresholds, the number of places and the `mode` of `kseg_ops.paste_masks` that goes with its masks. Optimizer state
    is not exported. The folder appears when it is complete.

    Args:
        model: a `kseg` model, or any functional Keras model from images `(B, H, W, C)` to logits `(B, H, W,
            num_classes)`; of the latter only the float signatures, unless it has an attribute `input_range`.
        path: folder to write. TensorFlow Serving wants it to end in a number, such as `served/1`.
        ops: `"reference"` for stock TensorFlow ops only, which any server loads; `"native"` to keep kseg's compiled
            ops, which a server must load first (what it needs is logged and returned).
        size: height and width, or one integer for both, at which the model is to work; `None` for the images' own.
        overwrite: whether a folder that is there and not empty is replaced.

    Returns:
        An `Export`.

    Raises:
        TypeError: not a Keras model.
        ValueError: a model that is not built, or has other inputs or outputs; an unknown `ops`; a bad `size`.
        OSError: `path` cannot be written to.
        FileExistsError: `path` is a file, or a folder that is not empty while `overwrite` is False.
        RuntimeError: `ops="native"` where the compiled ops are not to be had, or a model that calls ops which stock
            TensorFlow does not have while `ops="reference"`.

    Example:
        >>> kseg.export(model, "served/1")  # doctest: +SKIP
        >>> loaded = tf.saved_model.load("served/1")  # doctest: +SKIP
        >>> serve = loaded.signatures["serving_default"]  # doctest: +SKIP
        >>> serve(images=tf.zeros([1, 480, 640, 3], tf.uint8))["classes"].shape  # doctest: +SKIP
        TensorShape([1, 480, 640])
    """
    kind = DetectionGraph if isinstance(model, FasterRCNN) else ServingGraph
    spec = kind.spec_of(model)
    if ops not in ("reference", "native"):
        raise ValueError(f'ops must be "reference" or "native"; got {ops!r}.')
    size = _checked_size(size, spec)
    path = Path(path)
    _check_path(path, overwrite)
    if ops == "native":
        _require_native(kind.native_ops)
    with kseg_ops.use_reference() if ops == "reference" else _graphs.plain_graph():
        graph = kind(model, spec, size)
        functions = {name: function.get_concrete_function() for name, function in graph.signatures().items()}
    custom = tuple(sorted(set().union(*(_custom_ops(f.graph.as_graph_def()) for f in functions.values()))))
    if custom and ops == "reference":
        raise RuntimeError(
            f"model '{model.name}' calls ops that stock TensorFlow does not have: {', '.join(custom)}. "
            'Build it from stock layers, or export with ops="native".'
        )
    needs = _server_needs(custom)
    signatures = {name: _describe(function) for name, function in functions.items()}
    facts = {**_facts(model, spec, size, ops, custom, needs, signatures), **graph.facts()}
    _write(path, functions, facts)
    logger.log(logging.WARNING if custom else logging.INFO, "%s: %s", path, needs)
    return Export(path, signatures, custom, needs)


def _checked_size(size, spec):
    if size is None:
        return None
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0 for n in pair)
    if len(pair) != 2 or not whole:
        raise ValueError(f"size must be a positive integer or a pair (height, width) of such; got {size!r}.")
    for length, fixed, margin in zip(pair, spec.fixed_size, spec.margins, strict=True):
        if fixed is not None and length != fixed - 2 * margin:
            wanted = tuple(f and f - 2 * m for f, m in zip(spec.fixed_size, spec.margins, strict=True))
            raise ValueError(f"size must be {wanted}, the only one that this model takes; got {size!r}.")
    return int(pair[0]), int(pair[1])


def _check_path(path, overwrite):
    if path.is_dir():
        if any(path.iterdir()) and not overwrite:
            raise FileExistsError(f"{path} is there and not empty. Choose another path, or pass overwrite=True.")
    elif path.exists() or path.is_symlink():
        raise FileExistsError(f"{path} is a file; path must name a folder to be made.")


def _require_native(names):
    from kseg_ops import _library

    for name in names:
        if _library.native_op(name) is None:
            state = _library.op_states([name])[name]
            raise RuntimeError(
                f'ops="native" needs kseg\'s compiled ops, but they are not in use: {state}. '
                'Run `kseg build-ops`, or export with ops="reference".'
            )


def _custom_ops(graph_def) -> set[str]:
    """Ops of a graph and its function library that stock TensorFlow does not register."""
    functions = {function.signature.name for function in graph_def.library.function}
    nodes = list(graph_def.node)
    for function in graph_def.library.function:
        nodes += function.node_def
    # `tf.raw_ops` lists the ops of TensorFlow itself, and none that a library registered later.
    return {node.op for node in nodes if node.op not in functions and not hasattr(tf.raw_ops, node.op)}


def _server_needs(custom):
    if not custom:
        return f"any TensorFlow Serving or tf.saved_model.load loads it (exported with TensorFlow {tf.__version__})."
    from kseg_ops import _library

    series = ".".join(tf.__version__.split(".")[:2])
    folder = _library.NATIVE_DIR
    return (
        f"the graph holds {', '.join(custom)}. A Python process on TensorFlow {series}.x calls "
        f"tf.load_op_library('{folder / _library.OPS_NAME}') first ({_library.KERNELS_NAME} beside it); a TensorFlow "
        "Serving binary must be built with these ops. A stock server refuses the model."
    )


def _describe(function):
    inputs = function.structured_input_signature[0]
    described = {"input": "; ".join(f"{spec.name}: {_text(spec)}" for spec in inputs)}
    outputs = function.structured_outputs
    return {**described, "output": "; ".join(f"{name}: {_text(outputs[name])}" for name in sorted(outputs))}


def _text(tensor):
    return f"{tensor.dtype.name} [{', '.join('?' if n is None else str(n) for n in tensor.shape)}]"


def _facts(model, spec, size, ops, custom, needs, signatures):
    from kseg_ops import __version__

    return {
        "kseg_version": __version__,
        "tensorflow_version": tf.__version__,
        "model": model.name,
        "num_classes": spec.num_classes,
        "class_names": None if spec.class_names is None else list(spec.class_names),
        "channels": spec.channels,
        "input_range": None if spec.input_range is None else list(spec.input_range),
        "size": None if size is None else list(size),
        "ops": ops,
        "custom_ops": list(custom),
        "server_needs": needs,
        "signatures": signatures,
    }


def _write(path, functions, facts):
    """Writes beside `path` and renames, so that no server ever sees half a model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    holder = tf.Module()
    # The variables that the graphs read and nothing else: the model itself would bring its optimizer along.
    holder.weights = list({id(v): v for function in functions.values() for v in function.variables}.values())
    try:
        try:
            tf.saved_model.save(
                holder,
                str(beside),
                signatures=functions,
                # Backward functions of custom gradients are of no use to a server, and may hold ops that it lacks.
                options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
            )
        except tf.errors.OpError as error:  # TensorFlow's own errors of the file system are no OSError
            reason = str(error.message).split("; ")[-1].split("\n")[0]
            raise OSError(f"cannot write to {path}: {reason}. Choose a folder that can be written to.") from error
        extra = beside / "assets.extra"
        extra.mkdir()
        (extra / "kseg_export.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        _replace(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _replace(beside, path):
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    replaced = path.exists()
    if replaced:
        os.rename(path, old)
    os.rename(beside, path)
    if replaced:
        shutil.rmtree(old)
