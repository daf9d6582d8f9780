"""Drives the C++ build; everything that is data stands in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from setuptools import Command, Distribution, find_packages, setup
from setuptools.command.build import build
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from kseg_ops import build as native  # noqa: E402


class BuildNative(Command):
    """Compiles the library. Never fails: without it kseg runs on its reference ops, and says so."""

    description = "compile the C++ ops"
    user_options = [("build-lib=", "d", "where the package is assembled"), ("build-temp=", "t", "where CMake works")]

    editable_mode = False

    def initialize_options(self) -> None:
        self.build_lib = None
        self.build_temp = None

    def finalize_options(self) -> None:
        self.set_undefined_options("build", ("build_lib", "build_lib"), ("build_temp", "build_temp"))

    def run(self) -> None:
        if os.environ.get("KSEG_SKIP_BUILD", "0") not in ("", "0"):
            return
        if self.editable_mode:
            output, work = ROOT / "kseg_ops" / "_native", None
        else:
            output, work = Path(self.build_lib) / "kseg_ops" / "_native", self.build_temp
        try:
            report = native.build_native(output, work, isolated=True)
            text, complete = native.summary(report), report.complete
        except native.BuildError as error:
            text, complete = f"kseg: {error}.\nkseg works without, on its reference ops; {native.LATER}.", False
        sys.stderr.write(text + "\n")
        if not complete:
            _tell(text)

    def get_source_files(self) -> list[str]:
        return [str(path.relative_to(ROOT)) for path in (ROOT / "cpp").rglob("*") if path.is_file()]

    def get_outputs(self) -> list[str]:
        folder = Path(self.build_lib) / "kseg_ops" / "_native"
        return [] if self.editable_mode else [str(path) for path in folder.glob("*") if path.is_file()]

    def get_output_mapping(self) -> dict[str, str]:
        return {}


class BuildPy(build_py):
    """Ships the C++ sources inside the package, for `kseg build-ops`."""

    def run(self) -> None:
        super().run()
        if not getattr(self, "editable_mode", False):
            target = Path(self.build_lib) / "kseg_ops" / "_cpp"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / "cpp", target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs = super().get_outputs(include_bytecode)
        folder = Path(self.build_lib) / "kseg_ops" / "_cpp"
        return outputs + [str(path) for path in folder.rglob("*") if path.is_file()]


class Build(build):
    sub_commands = [*build.sub_commands, ("build_native", None)]


class NativeDistribution(Distribution):
    """Holds compiled code, though not in the form of setuptools' own extensions: the wheel is for one platform."""

    def has_ext_modules(self) -> bool:
        return True


def _tell(text: str) -> None:
    """Reaches the person although pip swallows the output of an installation that succeeds."""
    try:
        with open("/dev/tty", "w", encoding="utf-8") as terminal:
            terminal.write(f"\n{text}\n")
    except OSError:
        pass


# The command line lives in kseg/cli and is installed as a package of its own, so that starting it does not execute
# kseg/__init__ and with it TensorFlow.
packages = find_packages(include=["kseg", "kseg.*", "kseg_ops", "kseg_ops.*"], exclude=["kseg.cli", "kseg.cli.*"])
packages += ["kseg_cli", *(f"kseg_cli.{name}" for name in find_packages("kseg/cli"))]

setup(
    distclass=NativeDistribution,
    cmdclass={"build": Build, "build_py": BuildPy, "build_native": BuildNative},
    packages=packages,
    package_dir={"kseg_cli": "kseg/cli"},
)
