"""Calls of XLA's handlers that travel: made where TensorFlow is, read where it need not be.

A call holds what an op gets, in the order and form in which XLA passes it to the handler, and what came of it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cuda.build import ROOT
from benchmarks.cuda.device import BFloat16

DEFAULT = ROOT / "build" / "jax_calls.npz"
_LISTS = {"list(int)": np.int64, "list(bool)": np.int64, "list(float)": np.float32}
_SCALARS = {"int": np.int64, "bool": np.bool_, "float": np.float32}


@dataclass
class StoredCall:
    """One call of a handler.

    Attributes:
        op: The TensorFlow op's name without "Kseg>": the handlers are the symbols kseg_xla_<op> and kseg_xla_cuda_<op>.
        dtype: What the op's type attribute is.
        inputs: Lists of tensors one after another; bfloat16 as `BFloat16`.
        attributes: Strings, NumPy scalars and NumPy vectors; those of constant inputs are among them.
        constants: Positions in `inputs` of those that are also there as an attribute `constant_<position>`.
        results: Of the compiled op in an ordinary graph on the CPU.
        expected: What a GPU is held against: the same from inputs as float32, where they are halves.
        tolerance: For each of `expected`, as in `benchmarks.cuda.case.Case`.
        refused: Inputs whose contents the op refuses, or none.
        message: Part of what it says then.
    """

    op: str
    dtype: str
    inputs: list[np.ndarray]
    attributes: dict[str, Any]
    constants: list[int]
    results: list[np.ndarray]
    expected: list[np.ndarray] = field(default_factory=list)
    tolerance: list[np.ndarray] = field(default_factory=list)
    refused: list[np.ndarray] = field(default_factory=list)
    message: str = ""


_ARRAYS = ("inputs", "results", "expected", "tolerance", "refused")


def save(calls: list[StoredCall], simd: str, path: Path) -> None:
    """Writes calls, and the name of the instruction set that they were made with."""
    arrays, records = {}, []
    for number, call in enumerate(calls):
        record = {"op": call.op, "dtype": call.dtype, "constants": call.constants, "message": call.message}
        for name in _ARRAYS:
            record[name] = ["bfloat16" if isinstance(one, BFloat16) else "" for one in getattr(call, name)]
            arrays |= {f"{number}/{name}/{i}": np.asarray(one) for i, one in enumerate(getattr(call, name))}
        record["attributes"] = list(call.attributes)
        arrays |= {f"{number}/attributes/{name}": np.asarray(value) for name, value in call.attributes.items()}
        records.append(record)
    text = json.dumps({"simd": simd, "calls": records})
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, calls=np.array(text), **arrays)


def load(path: Path) -> tuple[list[StoredCall], str]:
    """What `save` wrote."""
    arrays = dict(np.load(path))
    stored = json.loads(str(arrays["calls"]))
    calls = []
    for number, record in enumerate(stored["calls"]):
        parts: dict[str, Any] = {}
        for name in _ARRAYS:
            found = [arrays[f"{number}/{name}/{i}"] for i in range(len(record[name]))]
            kinds = zip(found, record[name], strict=True)
            parts[name] = [one.view(BFloat16) if kind == "bfloat16" else one for one, kind in kinds]
        attributes = {name: arrays[f"{number}/attributes/{name}"] for name in record["attributes"]}
        # A scalar comes back as an array without axes, and a text as one of them.
        parts["attributes"] = {
            name: value if value.ndim else str(value) if value.dtype.kind == "U" else value[()]
            for name, value in attributes.items()
        }
        calls.append(StoredCall(record["op"], record["dtype"], constants=record["constants"], **parts))
        calls[-1].message = record["message"]
    return calls, stored["simd"]


def _lowerings() -> list[tuple[str, str, str]]:
    """The rows of the table in `cpp/adapters/xla_bridge.cc`: op, constant inputs, and what restricts the handlers."""
    text = (ROOT / "cpp" / "adapters" / "xla_bridge.cc").read_text(encoding="utf-8")
    return re.findall(r'Lowering\{"Kseg>(\w+)", \{(.*?)\}(.*?)\}', text)


def constant_inputs() -> dict[str, list[str]]:
    """The inputs that the host reads, by op."""
    return {op: re.findall(r'"(\w+)"', names) for op, names, _ in _lowerings()}


def cuda_ops() -> set[str]:
    """The ops that have a handler for CUDA where this library is built with CUDA."""
    return {op for op, _, handlers in _lowerings() if "kHost" not in handlers}


def _array(tensor: Any) -> np.ndarray:
    """NumPy's array of a tensor, without TensorFlow's own types."""
    array = np.asarray(tensor)
    return array.view(np.uint16).view(BFloat16) if array.dtype.name == "bfloat16" else array


def _widened(tensor: Any) -> Any:
    import tensorflow as tf

    return tf.cast(tensor, tf.float32) if tensor.dtype in (tf.float16, tf.bfloat16) else tensor


def _attribute(value: Any, declared: str) -> Any:
    """As `XlaAttributes` of cpp/adapters/xla_adapter.h reads it."""
    if declared in _SCALARS:
        return _SCALARS[declared](value)
    if declared in _LISTS:
        return np.asarray(value, _LISTS[declared]).reshape(-1)
    texts = [one.decode() for one in (value if declared == "list(string)" else [value])]
    return ",".join(texts)


def make(call: Any, dtype: str) -> StoredCall:
    """A call of `tests.helpers.xla_cases` with what the compiled op gives, where TensorFlow and the library are."""
    import tensorflow as tf

    from benchmarks.cuda.jax_tolerances import tolerances
    from kseg_ops import _library

    tensors = call.tensors(dtype)
    with tf.Graph().as_default() as graph:
        given = tf.nest.map_structure(lambda one: tf.constant(one.numpy()), tensors)
        _library.native_op(call.op)(**given, **call.attributes)
    operation = next(one for one in graph.get_operations() if one.type.startswith("Kseg>"))
    op = operation.type.removeprefix("Kseg>")
    names = [argument.name for argument in operation.op_def.input_arg]

    def flat(values: dict[str, Any]) -> list[np.ndarray]:
        return [_array(one) for name in names for one in tf.nest.flatten(values[name])]

    owners = [name for name in names for _ in tf.nest.flatten(tensors[name])]
    inputs = flat(tensors)
    constants = [i for i, name in enumerate(owners) if name in constant_inputs()[op]]
    attributes = {
        one.name: _attribute(operation.get_attr(one.name), one.type)
        for one in operation.op_def.attr
        if one.type not in ("type", "list(type)")
    }
    for position in constants:
        kind = np.float64 if inputs[position].dtype.kind == "f" else np.int64
        attributes[f"constant_{position}"] = inputs[position].astype(kind).reshape(-1)
    wide = tf.nest.map_structure(_widened, tensors)
    expected = call.results(wide, jit=False)
    bad = call.bad and dtype == call.dtypes[0]
    return StoredCall(
        op,
        dtype,
        inputs,
        attributes,
        constants,
        [_array(one) for one in call.results(tensors, jit=False)],
        [_array(one) for one in expected],
        [np.asarray(one, np.float64) for one in tolerances(call, dtype, wide, expected)],
        flat(tensors | call.bad) if bad else [],
        call.message if bad else "",
    )


def store(path: Path = DEFAULT, ops: list[str] | None = None) -> int:
    """Writes every call of `tests.helpers.xla_cases`, or of the ops named in snake case, and returns their number."""
    from kseg_ops import _library
    from tests.helpers.xla_cases import CALLS

    wanted = [call for call in CALLS if not ops or call.op in ops]
    calls = [make(call, dtype) for call in wanted for dtype in call.dtypes]
    save(calls, _library.core().simd_target(), path)
    return len(calls)
