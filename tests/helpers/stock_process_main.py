"""Stands in for a stock server: loads SavedModels in a process that has TensorFlow and never imports kseg.

    python -I stock_process_main.py JOBS.json

JOBS.json holds a list of `{"model": folder, "calls": [[signature, inputs.npz, outputs.npz], ...]}`; byte strings travel
as object-free `S` arrays. Prints one JSON object: for each model the ops of its main graph, of its library functions
and of its gradient functions that stock TensorFlow does not register, how many nodes were looked at, and for each call
the error if there was one.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2


def foreign_ops(folder):
    """Ops that this TensorFlow does not register, by where they stand; and the number of nodes per place."""
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((Path(folder) / "saved_model.pb").read_bytes())
    foreign, counted = {"main": set(), "library": set(), "gradient": set(), "declared": set()}, {}
    for meta in saved.meta_graphs:
        library = meta.graph_def.library
        functions = {function.signature.name: function for function in library.function}
        # Gradient functions: those that the library names as such, and those that nodes or attributes point to.
        backward = {gradient.gradient_func for gradient in library.gradient}
        for node in every_node(meta.graph_def):
            if "_gradient_op_type" in node.attr:
                backward.add(node.attr["_gradient_op_type"].s.decode())
        places = {
            "main": list(meta.graph_def.node),
            "library": [node for name, f in functions.items() if name not in backward for node in f.node_def],
            "gradient": [node for name, f in functions.items() if name in backward for node in f.node_def],
        }
        for place, nodes in places.items():
            counted[place] = counted.get(place, 0) + len(nodes)
            foreign[place] |= {node.op for node in nodes if node.op not in functions and not registered(node.op)}
        # What TensorFlow itself noted down while saving.
        foreign["declared"] |= {op.name for op in meta.meta_info_def.stripped_op_list.op if not registered(op.name)}
    return {place: sorted(ops) for place, ops in foreign.items()}, counted


def every_node(graph_def):
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def registered(op):
    # One function per registered op, generated when TensorFlow was built; nothing loaded later adds to it.
    return hasattr(tf.raw_ops, op)


def as_tensor(array):
    return tf.constant(array.tolist(), tf.string) if array.dtype.kind == "S" else tf.constant(array)


def run(job):
    foreign, counted = foreign_ops(job["model"])
    errors = {}
    try:
        model = tf.saved_model.load(job["model"])
        signatures = {
            name: {
                "inputs": {k: [v.dtype.name, list(v.shape)] for k, v in f.structured_input_signature[1].items()},
                "outputs": {k: [v.dtype.name, list(v.shape)] for k, v in f.structured_outputs.items()},
            }
            for name, f in model.signatures.items()
        }
    except Exception as error:  # reported to the caller, whatever it is
        return {"foreign": foreign, "counted": counted, "load_error": f"{type(error).__name__}: {error}"}
    for signature, inputs, outputs in job["calls"]:
        with np.load(inputs) as file:
            arrays = {name: as_tensor(file[name]) for name in file}
        try:
            results = model.signatures[signature](**arrays)
        except tf.errors.OpError as error:
            errors[f"{signature} {Path(inputs).stem}"] = f"{type(error).__name__}: {error}"
            continue
        np.savez(outputs, **{name: value.numpy() for name, value in results.items()})
    return {"foreign": foreign, "counted": counted, "errors": errors, "signatures": signatures}


def main():
    report = [run(job) for job in json.loads(Path(sys.argv[1]).read_text())]
    imported = sorted(name for name in sys.modules if name.split(".")[0].startswith("kseg"))
    sys.stdout.write(json.dumps({"models": report, "imported": imported}) + "\n")


if __name__ == "__main__":
    main()
