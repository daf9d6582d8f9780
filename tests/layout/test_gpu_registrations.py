"""What three places say of an op on a GPU agrees: TensorFlow's registration, XLA's handler and its lowering."""

from __future__ import annotations

import re

from tests.helpers.repository import CPP

WITHOUT_XLA = {"Nms", "PasteMasksRle"}  # no size that XLA could know


def placed_on_gpu() -> dict[str, set[str]]:
    """The ops with a GPU kernel in TensorFlow, each with the inputs that stay in the host's memory."""
    found = {}
    for path in CPP.glob("ops/*/*_tf.cc"):
        for registration in re.findall(r"KSEG_TF_GPU_KERNEL\((.*?)\);", path.read_text(), flags=re.DOTALL):
            (op,) = re.findall(r'Name\("Kseg>(\w+)"\)', registration)
            found[op] = set(re.findall(r'\.HostMemory\("(\w+)"\)', registration))
    return found


def lowered_for_gpu() -> dict[str, set[str]]:
    """The ops that XLA may place on a GPU, each with the inputs whose values travel as attributes."""
    rows = re.findall(
        r'Lowering\{"Kseg>(\w+)", \{([^}]*)\}(, Handlers::kHost)?\}', (CPP / "adapters/xla_bridge.cc").read_text()
    )
    assert len(rows) > 30
    return {op: set(re.findall(r'"(\w+)"', constants)) for op, constants, host_only in rows if not host_only}


def test_xla_places_on_a_gpu_what_tensorflow_does():
    handled = set()
    for path in CPP.glob("ops/*/*_xla.cc"):
        handled |= set(re.findall(r"KSEG_XLA_HANDLERS\((\w+),", path.read_text()))
    assert len(handled) > 25
    assert handled == set(lowered_for_gpu()) == set(placed_on_gpu()) - WITHOUT_XLA


def test_what_the_host_reads_is_in_its_memory():
    """An input that TensorFlow keeps on the host is one that XLA must know beforehand: its buffer is on the device."""
    on_host = placed_on_gpu()
    for op, constants in lowered_for_gpu().items():
        assert constants == on_host[op], op


def test_every_input_that_a_call_reads_by_value_stays_on_the_host():
    """`input_integers` and `input_shape` look at the numbers; nothing else in a call may."""
    for path in CPP.glob("ops/*/*_call.h"):
        text = path.read_text()
        read = set(re.findall(r'input_(?:integers|shape)\([^"]*"(\w+)"', text))
        kept = set().union(*(placed_on_gpu().get(op, set()) for op in ops_of(path.parent.name)))
        assert read <= kept or not any(op in placed_on_gpu() for op in ops_of(path.parent.name)), path
        assert set(re.findall(r"(\w+)\.data\[", text)) <= kept, path


def ops_of(folder: str) -> list[str]:
    """The TensorFlow ops of a folder."""
    return re.findall(r'REGISTER_OP\("Kseg>(\w+)"\)', (CPP / "ops" / folder / f"{folder}_tf.cc").read_text())
