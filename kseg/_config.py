"""What this installation of kseg consists of, for people and for bug reports."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from typing import Any

from kseg_ops import _library, build


def show_config(verbose: bool = True) -> dict[str, Any]:
    """Tells what kseg runs on: versions, which ops are native, SIMD target, threads, devices, XLA support.

    Never fails: what cannot be found out is reported as such.

    Args:
        verbose: Also write the report to standard output.

    Returns:
        The same as a dictionary. `versions`: package to version. `ops`: op to "native" or "reference (reason)". `simd`:
        the target `in_use` and the `supported` ones. `threads`: TensorFlow's `intra_op` and `inter_op` pools, as
        numbers of threads (0: TensorFlow decides), and the `cpus` of the machine. `devices`: names. `xla`: a sentence.
        `build`: the record of the last compilation.

    Example:
        >>> import kseg
        >>> config = kseg.show_config(verbose=False)
        >>> sorted(config["ops"])
        ['confusion_matrix', 'resize_argmax', 'roi_align']
    """
    config = {
        "versions": _attempt(_versions),
        "ops": _attempt(lambda: _library.op_states(build.list_ops())),
        "simd": _attempt(_simd),
        "threads": _attempt(_threads),
        "devices": _attempt(_devices),
        "xla": _attempt(_xla),
        "build": _attempt(_build),
    }
    if verbose:
        sys.stdout.write(_as_text(config))
    return config


def _xla() -> str:
    problem = _library.xla_problem()
    if problem:
        return f"stock ops only, so that models under jit_compile=True use the reference ops ({problem})"
    return "native ops: models under jit_compile=True use them, too"


def _attempt(find_out: Callable[[], Any]) -> Any:
    # A report about a broken installation must not break on it.
    try:
        return find_out()
    except Exception as error:
        return f"unknown ({type(error).__name__}: {error})"


def _versions() -> dict[str, str]:
    versions = {"kseg": _version("kseg"), "Python": platform.python_version()}
    for package in ("tensorflow", "keras", "numpy"):
        versions[package] = _attempt(lambda name=package: __import__(name).__version__)
    return versions


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        import kseg_ops

        return f"{kseg_ops.__version__} (not installed, run from its sources)"


def _simd() -> dict[str, Any]:
    core = _library.core()
    if core is None:
        return {"in_use": "none (the compiled library is not in use)", "supported": []}
    return {"in_use": core.simd_target(), "supported": list(core.supported_simd_targets())}


def _threads() -> dict[str, int]:
    import tensorflow as tf

    return {
        "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    }


def _devices() -> list[str]:
    import tensorflow as tf

    devices = []
    for device in tf.config.list_physical_devices():
        details = _attempt(lambda device=device: tf.config.experimental.get_device_details(device).get("device_name"))
        devices.append(f"{device.name} ({details})" if details else device.name)
    return devices


def _build() -> dict[str, Any]:
    info = _library.build_info()
    if info:
        info["up_to_date"] = info.get("sources") == build.sources_hash()
    return info or {"problems": ["The library was never compiled here."]}


def _as_text(config: dict[str, Any]) -> str:
    lines = []
    for section, value in config.items():
        if isinstance(value, dict):
            lines.append(f"{section}:")
            lines += [f"  {key}: {_inline(entry)}" for key, entry in value.items()]
        else:
            lines.append(f"{section}: {_inline(value)}")
    return "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, (list, tuple)) else str(value)
