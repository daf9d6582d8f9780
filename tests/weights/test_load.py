"""Loading what fits: every variable is reached, and the report says what happened."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

pytest.importorskip("safetensors", reason="the checkpoints are .safetensors files")

from safetensors.numpy import save_file

import kseg
from kseg.weights import segmentation_models, torchvision, torchvision_detection
from kseg.weights.backbone_slots import backbone_slots
from tests.helpers.bad_checkpoints import published_state, small_fcn
from tests.helpers.seeded_weights import seeded_state

ResNet = functools.partial(kseg.backbones.ResNet, 18, filters=4)
Bottlenecks = functools.partial(kseg.backbones.ResNet, 50, filters=4)
VGG = functools.partial(kseg.backbones.VGG, 11, filters=4)
MobileNet = functools.partial(kseg.backbones.MobileNetV3, output_stride=16, levels="first", width=0.1)


def detector(kind, **options):
    return kind(**{"num_classes": 3, "backbone": ResNet(), "pyramid_filters": 8, "head_units": 8, **options})


MODELS = {
    "FCN": (torchvision, lambda: kseg.FCN(3, ResNet(), auxiliary=True)),
    "DeepLabV3": (torchvision, lambda: kseg.DeepLabV3(3, Bottlenecks(), auxiliary=True, filters=8)),
    "LRASPP": (torchvision, lambda: kseg.LRASPP(3, MobileNet(), filters=8)),
    "FasterRCNN": (torchvision_detection, lambda: detector(kseg.FasterRCNN)),
    "MaskRCNN": (torchvision_detection, lambda: detector(kseg.MaskRCNN)),
    "MaskRCNN v2": (torchvision_detection, lambda: detector(kseg.MaskRCNN, form="v2")),
    "UNet": (segmentation_models, lambda: kseg.UNet(3, backbone=ResNet())),
    "UNet on VGG": (segmentation_models, lambda: kseg.UNet(3, backbone=VGG(), center_block=True)),
    "UNetPlusPlus": (segmentation_models, lambda: kseg.UNetPlusPlus(3, ResNet())),
    "DeepLabV3 of the other": (segmentation_models, lambda: kseg.DeepLabV3(3, ResNet(), filters=8)),
    "DeepLabV3Plus": (segmentation_models, lambda: kseg.DeepLabV3Plus(3, ResNet(), filters=8)),
    "FPN": (segmentation_models, lambda: kseg.FPN(3, ResNet(), pyramid_filters=8, filters=32)),
    "PSPNet": (segmentation_models, lambda: kseg.PSPNet(3, ResNet(), level="P3")),
}


def weights_of(model):
    """The variables that training or inference reads; dropout has a seed besides."""
    weights = {id(weight): weight for layer in model.layers for weight in layer.weights}
    return {key: weight for key, weight in weights.items() if "seed" not in weight.path}


@pytest.mark.parametrize("case", MODELS)
def test_every_variable_has_one_tensor_and_gets_its_values(case, tmp_path):
    library, build = MODELS[case]
    model = build()
    slots = list(library.model_slots(model))
    assert len({slot.name for slot in slots}) == len(slots)
    assert sorted(id(slot.variable) for slot in slots) == sorted(weights_of(model))

    state = seeded_state({slot.name: slot.shape for slot in slots})
    save_file(state, tmp_path / "a.safetensors")
    report = kseg.weights.load(model, tmp_path / "a.safetensors")
    for slot in slots:
        np.testing.assert_array_equal(slot.variable.numpy(), slot.arranged(state[slot.name]))
    assert report.tensors == len(slots)
    assert report.values == sum(value.size for value in state.values())
    assert report.left_out == ()


@pytest.mark.parametrize("build", [ResNet, Bottlenecks, VGG, functools.partial(VGG, batch_norm=True), MobileNet])
def test_every_variable_of_a_backbone_has_one_tensor(build):
    backbone = build()
    slots = list(backbone_slots(backbone, ""))
    assert len({slot.name for slot in slots}) == len(slots)
    assert sorted(id(slot.variable) for slot in slots) == sorted(weights_of(backbone))


def test_axes_by_hand(tmp_path):
    """A kernel's published order is output, input, row, column; of a depthwise one channel, 1, row, column."""
    model = small_fcn()
    state = published_state(model)
    kernel = np.arange(8 * 32 * 9, dtype=np.float32).reshape(8, 32, 3, 3)
    save_file({**state, "classifier.0.weight": kernel}, tmp_path / "a.safetensors")
    kseg.weights.load(model, tmp_path / "a.safetensors")
    assert model.get_layer("classifier_0").kernel.numpy()[2, 1, 30, 5] == kernel[5, 30, 2, 1]

    backbone = MobileNet()
    slots = list(backbone_slots(backbone, ""))
    depthwise = next(slot for slot in slots if slot.name == "1.block.0.0.weight")
    assert depthwise.shape == (depthwise.variable.shape[2], 1, 3, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_become_float32(dtype, tmp_path):
    model = small_fcn()
    state = {name: value.astype(dtype) for name, value in published_state(model).items() if value.ndim}
    save_file(state, tmp_path / "a.safetensors")
    kseg.weights.load(model, tmp_path / "a.safetensors")
    bias = model.get_layer("classifier_4").bias
    assert bias.dtype == "float32"
    np.testing.assert_array_equal(bias.numpy(), state["classifier.4.bias"].astype(np.float32))


def test_skip_keeps_what_the_model_has(tmp_path):
    model = small_fcn()
    before = model.get_layer("classifier_4").kernel.numpy()
    save_file(published_state(small_fcn(num_classes=21, auxiliary=True)), tmp_path / "a.safetensors")
    report = kseg.weights.load(model, tmp_path / "a.safetensors", skip=["classifier.4", "aux_classifier"])
    np.testing.assert_array_equal(model.get_layer("classifier_4").kernel.numpy(), before)
    assert len(report.left_out) == 9
    assert set(report.left_out) >= {"classifier.4.bias", "classifier.4.weight", "aux_classifier.4.bias"}
    assert str(report).startswith(f"{report.tensors} tensors (")
    assert " of torchvision from " in str(report)
    assert "; left out: " in str(report)


@pytest.mark.parametrize(
    ("source", "prefix", "head"),
    [
        ("torchvision", "backbone.", "classifier.4.bias"),
        ("torchvision classification", "", "fc.weight"),
        ("segmentation-models-pytorch", "encoder.", "decoder.blocks.0.conv1.0.weight"),
    ],
)
def test_a_backbone_takes_any_source(source, prefix, head, tmp_path):
    backbone = small_fcn().get_layer("backbone")
    state = seeded_state({slot.name: slot.shape for slot in backbone_slots(backbone, prefix)})
    save_file({**state, head: np.zeros(5, np.float32)}, tmp_path / "a.safetensors")
    report = kseg.weights.load(backbone, tmp_path / "a.safetensors")
    assert (report.source, report.left_out) == (source, (head,))
    assert kseg.weights.source_of(tmp_path / "a.safetensors") == source
    np.testing.assert_array_equal(backbone.get_layer("conv1").batch_norm.beta.numpy(), state[f"{prefix}bn1.bias"])


def test_a_network_of_early_levels_takes_whole_encoders(tmp_path):
    """segmentation-models-pytorch keeps the stages that its PSPNet does not run."""
    model = kseg.PSPNet(3, ResNet(), level="P3")
    state = seeded_state({slot.name: slot.shape for slot in segmentation_models.model_slots(model)})
    deeper = {"encoder.layer3.0.conv1.weight": np.zeros(3, np.float32)}
    save_file({**state, **deeper}, tmp_path / "a.safetensors")
    assert kseg.weights.load(model, tmp_path / "a.safetensors").left_out == tuple(deeper)
    more_blocks = {"encoder.layer2.2.conv1.weight": np.zeros(3, np.float32)}
    save_file({**state, **more_blocks}, tmp_path / "a.safetensors")
    with pytest.raises(kseg.weights.WeightsError, match=r"1 surplus in the file: encoder\.layer2\.2\.conv1\.weight"):
        kseg.weights.load(model, tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("build", "key", "text"),
    [
        (lambda: kseg.UNet(3, filters=4, depth=2), "encoder.x", "UNet without a backbone: build it with one"),
        (lambda: kseg.SegNet(3), "backbone.x", "torchvision has no network like SegNet"),
        (
            lambda: kseg.SegNet(3),
            "conv1.x",
            "no published names for a SegNet without a backbone: build it with one, if",
        ),
        (lambda: kseg.UNet(3, backbone=ResNet()), "backbone.x", "torchvision has no network like UNet"),
        (
            lambda: kseg.UNetPlusPlus(3, VGG(), center_block=True),
            "encoder.x",
            "has a center block on VGG and never runs it: build the model with center_block=False",
        ),
        (
            lambda: kseg.DeepLabV3Plus(3, ResNet(), separable=False, filters=8),
            "encoder.x",
            "separable form of DeepLabV3Plus only: build the model with separable=True",
        ),
    ],
)
def test_models_without_published_names(build, key, text, tmp_path):
    save_file({key: np.zeros(1, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(TypeError, match=text):
        kseg.weights.load(build(), tmp_path / "a.safetensors")


def test_a_backbone_of_another_library_has_no_published_names(tmp_path):
    images = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(4, 3, strides=2, padding="same")(images)
    backbone = kseg.backbones.Backbone(images, {"P1": features}, strides={"P1": 2})
    save_file({"conv1.weight": np.zeros(1, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(TypeError, match=r"no published names for the backbone .* only for ResNet, VGG and MobileNetV3"):
        kseg.weights.load(backbone, tmp_path / "a.safetensors")


def test_skip_is_a_list():
    with pytest.raises(TypeError, match=r"skip must be a list of names, such as \[\"aux_classifier\"\]; got 'fc'"):
        kseg.weights.load(None, "a.pth", skip="fc")


@pytest.mark.parametrize("skip", [3, None, [3]])
def test_skip_is_a_list_of_texts(skip):
    with pytest.raises(TypeError, match=r"skip must be a list of names, such as \[\"aux_classifier\"\]; got "):
        kseg.weights.load(None, "a.pth", skip=skip)


@pytest.mark.parametrize("path", [None, 5, b"a.pth"])
def test_path_is_a_name(path):
    for call in (kseg.weights.source_of, functools.partial(kseg.weights.load, small_fcn())):
        with pytest.raises(TypeError, match=rf"path must be the name of a .*, or a pathlib\.Path; got {path!r}"):
            call(path)
        with pytest.raises(ValueError, match=r"path must be the name of a .*; got ''"):
            call("")


@pytest.mark.parametrize(
    ("model", "came"), [(None, "None"), ("FCN", "'FCN'"), (keras.Sequential, "a Sequential"), (kseg.FCN, "<class ")]
)
def test_model_is_of_kseg(model, came):
    model = model() if model is keras.Sequential else model
    with pytest.raises(TypeError, match=rf"model must be a model of kseg, such as .*kseg\.backbones; got {came}"):
        kseg.weights.load(model, "a.pth")


@pytest.mark.parametrize("prefix", ["model.", "net.", "module.model.", "_orig_mod.network."])
def test_a_common_part_of_all_names_goes(prefix, tmp_path):
    model = small_fcn()
    state = published_state(model)
    save_file({prefix + name: value for name, value in state.items()}, tmp_path / "a.safetensors")
    assert kseg.weights.source_of(tmp_path / "a.safetensors") == "torchvision"
    assert kseg.weights.load(model, tmp_path / "a.safetensors").left_out == ()
    np.testing.assert_array_equal(model.get_layer("classifier_4").bias.numpy(), state["classifier.4.bias"])


def test_a_common_part_over_no_known_names_is_told(tmp_path):
    names = ("model.b.weight", "model.a.weight")
    save_file({name: np.zeros(1, np.float32) for name in names}, tmp_path / "a.safetensors")
    message = (
        r"of no known source: model\.a\.weight, model\.b\.weight\. All names begin with model\., and what follows "
        r"that is of no known source either\. Expected names of one of torchvision"
    )
    with pytest.raises(kseg.weights.WeightsError, match=message):
        kseg.weights.load(small_fcn(), tmp_path / "a.safetensors")
