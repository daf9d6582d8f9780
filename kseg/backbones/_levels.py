"""Finding the levels of a pyramid in the graph of any functional Keras model."""

from __future__ import annotations

import keras

# Two sizes that every usual stride divides: a tensor whose size does not grow between them is no feature map.
_PROBES = (256, 512)
_LARGEST_STRIDE = 128
_NO_MAPS = "model must have feature maps (B, H, W, C) that are smaller than its images; {} has none"


def find_levels(model):
    """The last tensor of each stride on the main path of a model.

    The model's layers are called anew, on Keras tensors: no weight is read and nothing is computed.

    Args:
        model: functional, with one input `(B, H, W, channels)`.

    Returns:
        A Keras input of any height and width, and the Keras tensor of each level by name, the finest first.

    Raises:
        ValueError: there is no level; a layer on the way takes images of one size only.
    """
    # A plain functional model of the same layers, whatever the class of the given one.
    source, records, maps = _recorded(keras.Model(model.inputs, model.outputs))
    if not maps:
        raise ValueError(_NO_MAPS.format(model.name))
    try:
        if None not in source.shape[1:3]:
            anything = keras.Input((None, None, source.shape[-1]), dtype=source.dtype)
            source, records, maps = _recorded(keras.Model(source, maps), anything)
        strides = _strides(source, maps)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"model must work on images of any size up to its last feature map; {model.name} does not: build it with "
            f"input_shape=(None, None, {source.shape[-1]}) and without its classifier. {error}"
        ) from error
    if not strides or max(strides.values())[0] == 1:
        raise ValueError(_NO_MAPS.format(model.name))
    deepest = max(strides.values())[0]
    sink = next(tensor for tensor in reversed(maps) if strides.get(id(tensor), (0,))[0] == deepest)
    on_path = _on_every_path(records, source, sink)
    levels = {}
    for tensor in maps:
        stride, exact = strides.get(id(tensor), (1, False))
        if stride > 1 and id(tensor) in on_path:
            name = f"P{stride.bit_length() - 1}"
            # What only padding made a little larger, or its absence smaller, gives way to a map of the exact size.
            if exact or not levels.get(name, (None, False))[1]:
                levels[name] = (tensor, exact)
    return source, {name: levels[name][0] for name in sorted(levels, key=lambda name: int(name[1:]))}


def _recorded(model, source=None):
    """Calls every layer of a model anew, on its own or on another Keras input.

    Returns:
        The input; for each call the tensors that went in and those that came out; the outputs of rank 4.
    """
    records = []

    def call(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        records.append((_tensors((args, kwargs)), _tensors(outputs)))
        return outputs

    clone = keras.models.clone_model(
        model, input_tensors=source, clone_function=lambda layer: layer, call_function=call
    )
    maps = [tensor for _, outputs in records for tensor in outputs if len(tensor.shape) == 4]
    return clone.inputs[0], records, maps


def _tensors(structure):
    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, keras.KerasTensor)]


def _strides(source, maps):
    """By id of each tensor that is a map: its stride, and whether its size is the image's divided by that."""
    probe = keras.Model(source, maps)
    shapes = [_as_list(probe.compute_output_shape((1, size, size, source.shape[-1]))) for size in _PROBES]
    strides = {}
    for tensor, small, large in zip(maps, *shapes, strict=True):
        growth = [large[axis] - small[axis] for axis in (1, 2)]
        if growth[0] < 1 or growth[0] != growth[1] or small[1] != small[2]:
            continue
        stride, rest = divmod(_PROBES[1] - _PROBES[0], growth[0])
        if not rest and stride & (stride - 1) == 0 and 1 <= stride <= _LARGEST_STRIDE:
            strides[id(tensor)] = (stride, small[1] * stride == _PROBES[0])
    return strides


def _as_list(shapes):
    return shapes if isinstance(shapes, list) else [shapes]


def _on_every_path(records, source, sink):
    """The ids of the tensors that every path from the source to the sink goes through.

    They are those with as many paths through them as there are in all; Python's ints count them exactly.
    """
    before = {id(source): 1}
    for inputs, outputs in records:
        count = sum(before.get(id(tensor), 0) for tensor in inputs)
        before.update((id(tensor), count) for tensor in outputs)
    after = {id(sink): 1}
    for inputs, outputs in reversed(records):
        count = sum(after.get(id(tensor), 0) for tensor in outputs)
        for tensor in inputs:
            after[id(tensor)] = after.get(id(tensor), 0) + count
    total = before[id(sink)]
    return {key for key, count in before.items() if count * after.get(key, 0) == total}
