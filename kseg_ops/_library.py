"""Loads the compiled library, or says once why not.

Nothing here raises because of the library's state: a missing, truncated or mismatched one costs a `RuntimeWarning` that
names the fix, and the reference operators take over. `KSEG_NATIVE=0` in the environment forces the references; it is
read at every call (and, inside a `tf.function`, at trace time).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import struct
import sys
import sysconfig
import threading
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

NATIVE_DIR = Path(__file__).resolve().parent / "_native"
KERNELS_NAME = "libkseg_kernels.so"
CUDA_KERNELS_NAME = "libkseg_kernels_cuda.so"
OPS_NAME = "_ops.so"
XLA_NAME = "_xla.so"
FIX = "`kseg build-ops` compiles it anew"

# The one path whose TensorFlow ops this process has registered, shared by all copies of this module.
_PROCESS_MARK = "_kseg_ops_library"

_lock = threading.RLock()
_thread = threading.local()
_warned: set[str] = set()


def _warn(message: str, reason: str = "") -> None:
    """Warns once per process and reason."""
    with _lock:
        if (reason or message) in _warned:
            return
        _warned.add(reason or message)
    warnings.warn(message, RuntimeWarning, stacklevel=3)


class use_reference:  # noqa: N801 - reads as a statement: `with kseg_ops.use_reference():`
    """Context manager in which operators use their pure-TensorFlow references.

    Decided when the operator is called, hence at trace time inside a `tf.function`. Holds for the current thread only,
    and nests.

    Example:
        >>> import kseg_ops
        >>> with kseg_ops.use_reference():
        ...     kseg_ops._library.native_op("roi_align") is None
        True
    """

    def __enter__(self) -> use_reference:
        _thread.depth = getattr(_thread, "depth", 0) + 1
        return self

    def __exit__(self, *exception: object) -> None:
        _thread.depth -= 1


def native_allowed() -> bool:
    """False if `KSEG_NATIVE` is 0, false, off or no."""
    return os.environ.get("KSEG_NATIVE", "1").strip().lower() not in ("0", "false", "off", "no")


def build_info() -> dict[str, Any]:
    """What `kseg_ops.build` wrote about the last build; empty if there was none or its record cannot be read."""
    return read_record(NATIVE_DIR / "build_info.json")


def read_record(path: Path) -> dict[str, Any]:
    """A record of a build, without the entries that are not what a build writes."""
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(info, dict):
        return {}
    for name in ("ops", "cuda_ops", "built", "problems"):
        entries = info.get(name, [])
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            del info[name]
    return info


def native_op(name: str) -> Callable | None:
    """The compiled TensorFlow op `Kseg>Name`, or None where the reference is to be used.

    Args:
        name: The op in snake case, for example `"roi_align"` or `"roi_align_grad"`.

    Returns:
        A function that takes tensors and attributes, or None: under `KSEG_NATIVE=0` and `use_reference()`, if the
        library cannot be loaded (one warning says why), or if a GPU is visible and the op has no CUDA kernel.
    """
    if getattr(_thread, "depth", 0) or not native_allowed():
        return None
    library = _tf_library.load()
    if library is None:
        return None
    op = getattr(library, f"kseg_{name}", None)
    if op is None:
        _warn(f"kseg: the compiled library has no op {name!r}, so its reference is used; {FIX}.")
        return None
    if _gpu_visible() and not _has_cuda_kernel(name):
        return None
    return op


def xla_problem() -> str:
    """Why XLA cannot compile a graph with native ops, as the end of a sentence; empty if it can."""
    if not native_allowed():
        return "KSEG_NATIVE=0 is set"
    if _tf_library.load() is None:
        return _tf_library.problem
    if _gpu_visible() and not _tf_library.cuda_ops:
        return "a GPU is visible, and the compiled library has no CUDA kernels"
    _xla_library.load()
    return _xla_library.problem


def jit_ready(ops: tuple[str, ...]) -> bool:
    """Whether XLA can compile these ops in the form in which they run now, native or reference."""
    return all(native_op(name) is None for name in ops) or not xla_problem()


def core() -> types.ModuleType | None:
    """The compiled NumPy module `_core`, or None (`KSEG_NATIVE=0`, or it cannot be loaded: one warning says why)."""
    return _numpy_library.load() if native_allowed() else None


def core_problem() -> str:
    """Why `core()` is None, as the end of a sentence; empty if it is not."""
    return _numpy_library.problem if native_allowed() else "KSEG_NATIVE=0 is set"


def register_gradient(op_type: str) -> Callable:
    """`tf.RegisterGradient`, except that the first registration stays where TensorFlow would refuse a second one.

    Modules are imported twice where kseg is installed twice; the library of the first one serves the process then, and
    its gradient with it. `register_gradient("Kseg>Name")(None)` says that an op has no gradient.
    """
    import tensorflow as tf

    def register(function: Callable | None) -> Callable | None:
        with contextlib.suppress(KeyError):
            if function is None:
                tf.no_gradient(op_type)
            else:
                tf.RegisterGradient(op_type)(function)
        return function

    return register


def op_states(ops: list[str]) -> dict[str, str]:
    """For each op: "native", or "reference" followed by the reason in parentheses."""
    if not native_allowed():
        return dict.fromkeys(ops, "reference (KSEG_NATIVE=0)")
    library = _tf_library.load()
    if library is None:
        return dict.fromkeys(ops, f"reference ({_tf_library.problem})")
    states = {}
    for op in ops:
        if not hasattr(library, f"kseg_{op}"):
            states[op] = "reference (not in the compiled library)"
        elif _gpu_visible() and not _has_cuda_kernel(op):
            states[op] = "reference (a GPU is visible and the op has no CUDA kernel)"
        else:
            states[op] = "native"
    return states


def _gpu_visible() -> bool:
    import tensorflow as tf

    return bool(tf.config.get_visible_devices("GPU"))


def _has_cuda_kernel(name: str) -> bool:
    return any(name == op or name.startswith(f"{op}_") for op in _tf_library.cuda_ops)


class _Library:
    """One shared object, loaded at the first use and at most once, whatever the outcome."""

    def __init__(self, what: str):
        self.what = what
        self.problem = ""
        self.silent = False  # the problem is nobody's fault and has no fix
        self.cuda_ops: tuple[str, ...] = ()
        self._module: Any = None
        self._tried = False

    def load(self) -> Any:
        if self._tried:
            return self._module
        with _lock:
            if not self._tried:
                try:
                    _check_only_copy()
                    self._module = self._open()
                except _UnusableError as error:
                    self.problem = str(error)
                self._tried = True
        if self.problem and not self.silent:
            _warn(f"kseg: {self.what}: {self.problem}.", self.problem)
        return self._module

    def _open(self) -> Any:
        raise NotImplementedError


class _TensorFlowLibrary(_Library):
    def _open(self) -> Any:
        path = NATIVE_DIR / OPS_NAME
        cuda_ops = tuple(build_info().get("cuda_ops", ()))
        _check_file(NATIVE_DIR / KERNELS_NAME)
        _check_file(path)
        if cuda_ops and not (NATIVE_DIR / CUDA_KERNELS_NAME).is_file():
            raise _UnusableError(f"{CUDA_KERNELS_NAME}, which it was built with, is missing; {FIX}")
        if cuda_ops:
            _check_file(NATIVE_DIR / CUDA_KERNELS_NAME)
        import tensorflow as tf

        library = _load_for_tensorflow(path, tf.load_op_library)
        setattr(sys, _PROCESS_MARK, str(path))
        self.cuda_ops = cuda_ops
        _numpy_library.load()  # warns about a KSEG_SIMD that cannot be honoured
        return library

    def load(self) -> Any:
        first = not self._tried
        module = super().load()
        if first and module is not None:
            _xla_library.load()  # before XLA meets one of the ops
        return module


class _XlaLibrary(_Library):
    def _open(self) -> Any:
        path = NATIVE_DIR / XLA_NAME
        left_out = build_info().get("xla")
        if left_out and not path.is_file():
            self.silent = True
            raise _UnusableError(left_out)
        _check_file(path)
        if _sources(path) != _sources(NATIVE_DIR / OPS_NAME):
            raise _UnusableError(f"{path.name} and {OPS_NAME} are not of one build; {FIX}")
        import tensorflow as tf

        _load_for_tensorflow(path, tf.load_library)
        return True


class _NumpyLibrary(_Library):
    def _open(self) -> Any:
        path = NATIVE_DIR / f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
        _check_file(NATIVE_DIR / KERNELS_NAME)
        _check_file(path)
        spec = importlib.util.spec_from_file_location("kseg_ops._core", path)
        try:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        except (ImportError, OSError) as error:
            raise _UnusableError(f"{path} does not load ({_first_line(error)}); {FIX}") from error
        problem = module.simd_problem()
        if problem:
            _warn(f"kseg: {problem}.")
        return module


class _UnusableError(Exception):
    """Why a shared object is not used, as the middle of a sentence."""


def _load_for_tensorflow(path: Path, load: Callable[[str], Any]) -> Any:
    import tensorflow as tf

    built_for = _built_for_tensorflow(path)
    if _series(built_for) != _series(tf.__version__):
        raise _UnusableError(
            f"it was built for TensorFlow {built_for or '(unknown)'} and this is TensorFlow {tf.__version__}; {FIX}"
        )
    try:
        return load(str(path))
    except (tf.errors.OpError, OSError, RuntimeError) as error:
        raise _UnusableError(f"{path} does not load ({_first_line(error)}); {FIX}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def _series(version: str) -> str:
    """The part of a TensorFlow version that its C++ interface is stable for: "2.21" of "2.21.0"."""
    return ".".join(version.split(".")[:2])


def _built_for_tensorflow(path: Path) -> str:
    """The version that the library carries in itself; a record beside it could be a leftover."""
    found = re.search(rb"KSEG_BUILT_FOR_TENSORFLOW=([0-9A-Za-z.+-]*);", path.read_bytes())
    return found.group(1).decode() if found else ""


def _sources(path: Path) -> list[bytes]:
    """What tells apart libraries that do not belong together: TensorFlow ends the process that loads them both."""
    return re.findall(rb"KSEG_BUILT_FROM=[0-9a-f]*;", path.read_bytes())[:1]


def _check_file(path: Path) -> None:
    if not path.is_file():
        problems = build_info().get("problems") or []
        reason = f" ({problems[0].rstrip('.')})" if problems else ""
        raise _UnusableError(f"it is not built{reason}; {FIX.replace('anew', 'here')}")
    if not _is_whole(path):
        raise _UnusableError(f"{path} is truncated or damaged; {FIX}")


def _is_whole(path: Path) -> bool:
    """Whether an ELF file has all its bytes.

    The dynamic loader does not look: it maps what the headers promise, and the first touch of a missing page ends the
    process with SIGBUS. The section headers stand at the end of the file, so that a lost tail shows.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(64)
    if not header.startswith(b"\x7fELF"):
        # Not ELF: another platform's format, which its own loader judges, or no library at all.
        return sys.platform != "linux" and size > 0
    if len(header) < 64 or header[4] != 2 or header[5] != 1:  # 64 bits, little endian: what is supported
        return False
    (sections_at,) = struct.unpack_from("<Q", header, 0x28)
    entry_size, entries = struct.unpack_from("<HH", header, 0x3A)
    return size >= sections_at + entry_size * entries


def _check_only_copy() -> None:
    """Refuses to load beside another copy of the library.

    TensorFlow accepts the second registration of a kernel at load time and fails at every call after it ("Multiple
    OpKernel registrations"), also for the copy that worked before.
    """
    others = {getattr(sys, _PROCESS_MARK, None), *_mapped_copies()} - {None}
    mine = {str(NATIVE_DIR / name) for name in (OPS_NAME, KERNELS_NAME)}
    for other in sorted(others):
        if not any(_same_file(other, path) for path in mine):
            raise _UnusableError(
                f"this process has already loaded another copy of it, {other}; install kseg once, or restart the "
                "process if `kseg build-ops` has compiled it anew meanwhile"
            )


def _mapped_copies() -> set[str]:
    """Paths under which this process has the kernel library mapped, whoever loaded it. Empty where nobody can tell."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return set()
    # A file that was replaced on disk shows with " (deleted)" after its name and is another copy, too.
    return set(re.findall(rf"(/\S.*/{re.escape(KERNELS_NAME)}(?: \(deleted\))?)$", maps, flags=re.MULTILINE))


def _same_file(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:
        return False


_tf_library = _TensorFlowLibrary("the compiled ops cannot be used and the reference ops run instead")
_xla_library = _XlaLibrary("XLA cannot compile the compiled ops (all else works)")
_numpy_library = _NumpyLibrary("the compiled NumPy module cannot be used")
