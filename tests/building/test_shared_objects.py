"""What the compiled files promise to the loader and to the machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from kseg_ops import _library, build

OPS = _library.NATIVE_DIR / _library.OPS_NAME
KERNELS = _library.NATIVE_DIR / _library.KERNELS_NAME

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not _library.native_allowed() or not (OPS.is_file() and KERNELS.is_file()),
    reason="about the compiled library, which is not in use",
)


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def output(*command: object) -> str:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout


def dynamic(path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, value in re.findall(r"\((NEEDED|RPATH|RUNPATH)\).*\[(.+)\]", output("readelf", "-dW", path)):
        found.setdefault(kind, []).append(value)
    return found


@needs("readelf")
@pytest.mark.parametrize("path", sorted(_library.NATIVE_DIR.glob("*.so")), ids=lambda path: path.name.split(".")[0])
def test_libraries_find_each_other_wherever_they_are(path):
    """$ORIGIN and nothing else: no path into a TensorFlow or a build folder."""
    entries = dynamic(path)
    assert "RPATH" not in entries
    assert entries.get("RUNPATH", []) == ["$ORIGIN"]


@needs("readelf")
def test_kernels_know_neither_tensorflow_nor_python():
    for name in dynamic(KERNELS)["NEEDED"]:
        assert re.match(r"lib(stdc\+\+|m|gcc_s|c|pthread|c\+\+|c\+\+abi|unwind)\.so|ld-linux", name), name
    core = next(_library.NATIVE_DIR.glob("_core*.so"))
    assert not any("tensorflow" in name or "python" in name for name in dynamic(core)["NEEDED"])
    assert _library.KERNELS_NAME in dynamic(core)["NEEDED"]
    assert _library.KERNELS_NAME in dynamic(OPS)["NEEDED"]


def is_wide(instruction: str) -> bool:
    """Whether an instruction needs AVX or more: VEX and EVEX encodings start with a v, and touch vector registers."""
    return bool(re.match(r"v[a-z0-9]+\s.*%[xyz]mm", instruction)) or "%k1" in instruction


def test_is_wide():
    assert is_wide("vaddps %ymm0,%ymm1,%ymm2")
    assert is_wide("vmovss %xmm0,(%rax)")
    assert not is_wide("addps  %xmm0,%xmm1")
    assert not is_wide("verr   %ax")


@needs("objdump")
@pytest.mark.skipif(len(build.list_ops()) == 0, reason="no ops")
def test_wide_instructions_stay_inside_their_target():
    """A function outside kseg::avx2 and kseg::avx512 runs on every machine, so it must not hold their instructions.

    The danger is a function of the standard library that both a wide and a plain compilation emitted: the linker keeps
    one.
    """
    if not re.search(r"x86-64", output("objdump", "-f", KERNELS)):
        pytest.skip("one instruction set only on this machine")
    wrong, wide, function = set(), {"avx2": 0, "avx512": 0}, ""
    for line in output("objdump", "-d", "--no-show-raw-insn", KERNELS).splitlines():
        header = re.match(r"[0-9a-f]+ <(.+)>:$", line)
        if header:
            function = header.group(1)
            target = "avx512" if "4kseg6avx512" in function else "avx2" if "4kseg4avx2" in function else ""
            continue
        instruction = line.split("\t", 1)[-1].strip()
        if is_wide(instruction):
            if not target:
                wrong.add(function)
            else:
                wide[target] += 1
                if target == "avx2" and "%zmm" in instruction:
                    wrong.add(function)
    assert not wrong
    assert wide["avx2"] > 100
    assert wide["avx512"] > 100


@needs("nm")
def test_only_the_contract_is_visible():
    """Everything that the kernel library offers is in namespace kseg, the targets' own functions stay inside."""
    defined = [line.split()[-1] for line in output("nm", "-D", "--defined-only", KERNELS).splitlines()]
    assert defined
    foreign = [name for name in defined if "4kseg" not in name and not re.match(r"_ZN?[A-Z]*S[t_]|_ZG|_Z[TN]", name)]
    assert not foreign
    assert not [name for name in defined if "4kseg6avx512" in name or "4kseg4avx2" in name]
