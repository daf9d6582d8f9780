"""Files of weights that do not fit a small FCN, and what each must be answered with."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import kseg

CLASSES = 3


def small_fcn(**options):
    """A network with torchvision's names that costs nothing."""
    depth, channels = options.pop("depth", 18), options.pop("channels", 3)
    backbone = kseg.backbones.ResNet(depth, input_shape=(None, None, channels), filters=4)
    return kseg.FCN(options.pop("num_classes", CLASSES), backbone=backbone, input_range=None, **options)


def published_state(model) -> dict[str, np.ndarray]:
    """What a checkpoint for a model holds, with counters, as torchvision saves them."""
    from kseg.weights.torchvision import model_slots
    from tests.helpers.seeded_weights import seeded_state

    state = seeded_state({slot.name: slot.shape for slot in model_slots(model)})
    counters = {
        name.replace("running_mean", "num_batches_tracked"): np.array(7) for name in state if "running_mean" in name
    }
    return {**state, **counters}


@dataclasses.dataclass(frozen=True)
class Bad:
    """A file, and the answer to it.

    Attributes:
        title: what is wrong with it.
        make: writes it into a folder, given a good state dictionary; returns its path.
        answers: texts that the error has, in this order.
        needs_torch: whether torch has to write it.
        model: options of `small_fcn` for the model that is loaded into.
        skip: for `load`.
        error: name of the error's class.
    """

    title: str
    make: Callable[[Path, dict], Path]
    answers: tuple[str, ...]
    needs_torch: bool = False
    model: dict = dataclasses.field(default_factory=dict)
    skip: tuple[str, ...] = ()
    error: str = "WeightsError"


def saved(change, name="a.safetensors"):
    """Writes what a function makes of the good state dictionary."""

    def make(folder, state):
        save_file(change(state), folder / name)
        return folder / name

    return make


def raw(name, data):
    """Writes bytes."""

    def make(folder, state):
        (folder / name).write_bytes(data)
        return folder / name

    return make


def cut(folder, state):
    """A file that ends too early."""
    path = saved(lambda state: state)(folder, state)
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def changed(**tensors):
    """The state with other tensors; `__` stands for dots, and None takes one away."""
    tensors = {name.replace("__", "."): value for name, value in tensors.items()}

    def change(state):
        return {name: value for name, value in {**state, **tensors}.items() if value is not None}

    return change


def with_value(name, value):
    """The state with one value of one tensor replaced."""

    def change(state):
        tensor = state[name].astype(np.float64)
        tensor.flat[1] = value
        return {**state, name: tensor}

    return change


def state_of(**options):
    """The state of another network than the one that is loaded into."""
    return lambda state: published_state(small_fcn(**options))


def eight_bits(folder, state):
    """A type that NumPy lacks."""
    header = json.dumps({"backbone.conv1.weight": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}).encode()
    (folder / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    return folder / "a.safetensors"


def through_torch(content, **options):
    """Writes with `torch.save` what a function makes of torch and the state."""

    def make(folder, state):
        import torch

        torch.save(content(torch, {name: torch.tensor(value) for name, value in state.items()}), folder / "a.pth")
        return folder / "a.pth"

    return make


class Malicious:
    """Runs a command when it is unpickled without care."""

    def __reduce__(self):
        return os.system, ("touch was_run",)


def cut_pth(folder, state):
    """The first half of a file of torch."""
    path = through_torch(lambda torch, state: state)(folder, state)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def renamed(folder, state):
    """A file of torch under the name of the other format."""
    return through_torch(lambda torch, state: state)(folder, state).rename(folder / "a.safetensors")


def script(folder, state):
    """A TorchScript archive."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(folder / "a.pt"))
    return folder / "a.pt"


NOTHING = 'does not fit FCN "fcn"; nothing was loaded.'
BAD = [
    Bad("no such file", lambda folder, state: folder / "a.pth", ("a.pth does not exist; expected",)),
    Bad("a folder", lambda folder, state: folder, (" is a folder; expected a .safetensors, .pth or .pt file",)),
    Bad("another suffix", raw("a.ckpt", b"?"), ("got '.ckpt'", "Rename it to .pth")),
    Bad("a Keras model", raw("a.keras", b"?"), ("got '.keras'", "keras.models.load_model")),
    Bad("Keras weights", raw("a.weights.h5", b"?"), ("got '.h5'", "model.load_weights")),
    Bad("no suffix", raw("weights", b"?"), ("got 'no suffix'",)),
    Bad("empty", raw("a.safetensors", b""), ("is not a whole .safetensors file: it is empty", "Get it again")),
    Bad("random bytes", raw("a.safetensors", bytes(range(256))), ("damaged, cut off or of another format",)),
    Bad("cut off", cut, ("damaged, cut off or of another format",)),
    Bad("a web page", raw("a.safetensors", b"<!DOCTYPE html><html>Not found"), ("web page: the download failed",)),
    Bad("a Git LFS pointer", raw("a.pth", b"version https://git-lfs.github.com/spec/v1\n"), ("git lfs pull",), True),
    Bad("no tensors", saved(lambda state: {}), ("holds no tensors",)),
    Bad(
        "another architecture",
        saved(lambda state: {"blocks.0.attn.qkv.weight": np.zeros((9, 3), np.float32)}),
        ("of no known source: blocks.0.attn.qkv.weight.", "torchvision: backbone.*"),
    ),
    Bad(
        "names of two libraries",
        saved(changed(encoder__conv1__weight=np.zeros(1, np.float32))),
        (
            "of several sources at once, backbone.",
            "encoder.conv1.weight. Those are torchvision: backbone.*",
        ),
    ),
    Bad(
        "a classification network",
        saved(lambda state: {"conv1.weight": np.zeros((4, 3, 7, 7), np.float32)}),
        ("torchvision classification", 'model.get_layer("backbone")'),
    ),
    Bad(
        "a library without this network",
        saved(lambda state: {"encoder.conv1.weight": np.zeros((4, 3, 7, 7), np.float32)}),
        ("segmentation-models-pytorch has no network like FCN",),
        error="TypeError",
    ),
    Bad(
        "tensors missing",
        saved(changed(classifier__1__bias=None, classifier__4__weight=None)),
        (NOTHING, "2 missing from the file: classifier.1.bias, classifier.4.weight."),
    ),
    Bad(
        "tensors too many",
        saved(changed(classifier__7__weight=np.zeros(2, np.float32))),
        (NOTHING, "1 surplus in the file: classifier.7.weight."),
    ),
    Bad(
        "another number of classes",
        saved(state_of(num_classes=21)),
        (
            "2 of another shape: classifier.4.weight (21, 8, 1, 1) instead of (3, 8, 1, 1), classifier.4.bias (21,)",
            "num_classes=21, the model num_classes=3: build the model with 21, or",
            "skip=['classifier.4']",
        ),
    ),
    Bad(
        "images of other channels",
        saved(state_of(channels=4)),
        ("1 of another shape: backbone.conv1.weight (4, 4, 7, 7)", "input_shape=(None, None, 4)"),
    ),
    Bad(
        "a deeper backbone",
        saved(state_of(depth=34)),
        ("80 surplus in the file: backbone.layer1.2.", "and 72 more.", "The backbones differ, in", "another depth"),
    ),
    Bad(
        "an auxiliary head that the model lacks",
        saved(state_of(auxiliary=True)),
        ("7 surplus in the file: aux_classifier.", 'leave it out with skip=["aux_classifier"]'),
    ),
    Bad(
        "no auxiliary head for the model's",
        saved(lambda state: state),
        ("7 missing from the file: aux_classifier.", "keep the model's as it is with", 'skip=["aux_classifier"]'),
        model={"auxiliary": True},
    ),
    Bad(
        "not a number",
        saved(with_value("classifier.0.weight", np.nan)),
        ("1 with unusable values: classifier.0.weight not finite (1 of 2304 values).",),
    ),
    Bad(
        "beyond float32",
        saved(with_value("classifier.4.bias", 1e300)),
        ("1 with unusable values: classifier.4.bias not finite (1 of 3 values).",),
    ),
    Bad(
        "a negative variance",
        saved(with_value("classifier.1.running_var", -1e-3)),
        ("classifier.1.running_var negative, and it is a variance (1 of 8 values).",),
    ),
    Bad(
        "integer weights",
        saved(changed(classifier__4__bias=np.zeros(3, np.int8))),
        ("1 with unusable values: classifier.4.bias of type int8.",),
    ),
    Bad("8-bit floats", eight_bits, ("backbone.conv1.weight of type F8_E4M3.",)),
    Bad(
        "several things at once",
        saved(changed(classifier__4__bias=None, x=np.zeros(2), classifier__0__weight=np.zeros((8, 32, 1, 1)))),
        ("1 missing from", "classifier.4.bias", "1 surplus in", ": x.", "1 of another", "(8, 32, 1, 1) instead of"),
    ),
    Bad(
        "a skip of nothing",
        saved(lambda state: state),
        ("skip names 'aux_clasifier', which neither", "backbone.*, classifier.*"),
        skip=("aux_clasifier",),
    ),
    Bad(
        "a skip of everything",
        saved(lambda state: state),
        ("skip=['backbone', 'classifier'] leaves nothing of",),
        skip=("backbone", "classifier"),
    ),
    Bad(
        "a pickle with code",
        through_torch(lambda torch, state: {**state, "x": Malicious()}),
        ("holds more than tensors (posix.system)", "was not read", "torch.save(network.state_dict(), ...)"),
        needs_torch=True,
    ),
    Bad(
        "a bare pickle with code",
        lambda folder, state: raw("a.pth", pickle.dumps(Malicious(), 2))(folder, state),
        ("holds more than tensors (posix.system)",),
        needs_torch=True,
    ),
    Bad(
        "a whole module",
        through_torch(lambda torch, state: torch.nn.Linear(2, 2)),
        ("holds more than tensors (torch.nn.modules.linear.Linear)",),
        needs_torch=True,
    ),
    Bad("a .pth under the other name", renamed, ("content is that of a .pth file. Rename it to a.pth",), True),
    Bad(
        "a .safetensors under the other name",
        saved(lambda state: state, "a.pth"),
        ("content is that of a .safetensors file. Rename it to a.safetensors",),
        needs_torch=True,
    ),
    Bad(
        "a pickle under the other name",
        raw("a.safetensors", pickle.dumps({"a": 1}, 4)),
        ("is not a whole .safetensors file: its content is that of a .pth file",),
    ),
    Bad(
        "a bare pickle",
        raw("a.pth", pickle.dumps({"a": 1}, 2)),
        ("is not a whole file of torch.save: it is a pickle that something else wrote.", "save only the tensors"),
        needs_torch=True,
    ),
    Bad(
        "the head of a classification network",
        saved(changed(fc__weight=np.zeros((2, 2), np.float32))),
        ("1 surplus in the file: fc.weight.", "The model has nothing under fc: leave", "skip=['fc']"),
    ),
    Bad(
        "tensors without values",
        through_torch(lambda torch, state: {**state, "classifier.4.bias": torch.ones(3, device="meta")}),
        ('classifier.4.bias without values, on the device "meta": save the network after',),
        needs_torch=True,
    ),
    Bad("TorchScript", script, ("is a TorchScript archive, a program",), needs_torch=True),
    Bad("half of a .pth", cut_pth, ("is not a whole file of torch.save: it is damaged",), needs_torch=True),
    Bad("random bytes as .pth", raw("a.pth", bytes(range(256))), ("is not a whole file of",), needs_torch=True),
    Bad("an empty .pth", raw("a.pth", b""), ("it is empty",), needs_torch=True),
    Bad(
        "a list",
        through_torch(lambda torch, state: list(state.values())),
        ("holds a list; expected a state dictionary: tensors by name",),
        needs_torch=True,
    ),
    Bad(
        "a dictionary of other things",
        through_torch(lambda torch, state: {"net": state, "epoch": 3}),
        ("holds a dictionary with 'net', 'epoch'; expected", "under 'model' or 'state_dict'"),
        needs_torch=True,
    ),
    Bad(
        "two state dictionaries",
        through_torch(lambda torch, state: {"model": state, "state_dict": state}),
        ("holds two state dictionaries, 'model' and 'state_dict'",),
        needs_torch=True,
    ),
    Bad(
        "a sparse tensor",
        through_torch(lambda torch, state: {**state, "classifier.4.bias": torch.ones(3).to_sparse()}),
        ("classifier.4.bias sparse.",),
        needs_torch=True,
    ),
]
