"""Check whether this machine is ready for the course."""

import os
import platform
import shutil
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from .checkpoints import load_pretrained_model
from .devices import bf16_speedup, choose_precision, kind, name_of, try_all_gpus
from .store.classifiers import classifier_dir
from .store.hub import DATA_HUB, data_dir, how_to_get, is_present, is_writable

_OLDEST_PYTHON = (3, 11)
_MIN_FREE = 0.1  # GB: enough for the classifiers of the course
_PACKAGES = {
    "torch": "networks and training",
    "numpy": "arrays",
    "matplotlib": "the plots",
    "jupyterlab": "opens the notebooks",
    "ipykernel": "runs their cells",
    "ipywidgets": "the interactive parts",
    "jupyterlab_widgets": "shows them in JupyterLab",
}


class Check(NamedTuple):
    """The result of one check: whether it passed, what was checked, and what was found."""

    ok: bool
    what: str
    found: str


def checkup() -> list[Check]:
    """Check Python, packages, device, Jupyter, and the data folder with its contents."""
    return [
        _python(),
        *(_package(name, purpose) for name, purpose in _PACKAGES.items()),
        Check(True, "threads", f"{torch.get_num_threads()} for torch"),
        *_device_and_precision(),
        _jupyter_command(),
        _kernel(),
        _data_folder(),
        _bundled_model(),
        *(_entry(name) for name in DATA_HUB),
    ]


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    ok = sys.version_info >= _OLDEST_PYTHON
    return Check(ok, "Python", found if ok else f"{found}: install 3.11 or newer")


def _device_and_precision() -> list[Check]:
    devices = try_all_gpus()
    chosen = choose_precision("auto", devices[0])
    if kind(devices[0]) == "cpu":
        found = "cpu (torch finds no GPU; the bundled data needs none)"
        why = f"a bf16 matrix product runs at {bf16_speedup():.1f} times the speed of fp32"
    else:
        found = ", ".join(map(name_of, devices))
        why = f"torch {'says' if chosen == 'bf16' else 'does not say'} that this GPU has bf16"
    precision = f"{chosen} ({why})"
    return [Check(True, "device", found), Check(True, "precision", precision)]


def _package(name: str, purpose: str) -> Check:
    required = _required_versions().get(name, SpecifierSet())
    command = f"python -m pip install --upgrade '{name}{required}'"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(False, name, f"missing ({purpose}): {command}")
    if not required.contains(version, prereleases=True):
        return Check(False, name, f"{version} is too old ({purpose}): {command}")
    return Check(True, name, f"{version} ({purpose})")


def _required_versions() -> dict[str, SpecifierSet]:
    """Return the versions of packages that this one requires, by name."""
    try:
        requirements = map(Requirement, metadata.requires("d2lnli") or ())
    except metadata.PackageNotFoundError:
        return {}
    return {requirement.name: requirement.specifier for requirement in requirements}


def _jupyter_command() -> Check:
    """Check which `jupyter` a terminal starts; another environment lacks this package."""
    found, scripts = shutil.which("jupyter"), Path(sysconfig.get_path("scripts"))
    user = Path(sysconfig.get_path("scripts", f"{os.name}_user"))  # for `pip install --user`
    advice = "activate this environment first, or call `python -m jupyterlab`"
    if found is None:
        return Check(False, "jupyter", f"not on the path, but it may be in {scripts}: {advice}")
    if Path(found).parent.resolve() not in (scripts.resolve(), user.resolve()):
        problem = f"{found} belongs to another Python, not to {scripts}"
        return Check(False, "jupyter", f"{problem}: {advice}")
    return Check(True, "jupyter", found)


def _kernel() -> Check:
    """Check which Python runs the cells of a notebook."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
        from jupyter_core.paths import prefer_environment_over_user
    except ImportError as error:
        return Check(False, "kernel", f"{error}: python -m pip install --upgrade jupyterlab")
    option = "--sys-prefix" if prefer_environment_over_user() else "--user"
    command = f"{sys.executable} -m ipykernel install {option} --name python3"
    try:
        program = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return Check(False, "kernel", f"no Python kernel is installed: {command}")
    # Jupyter replaces a bare `python` with its own Python
    if not Path(program).is_absolute() or Path(program).parent == Path(sys.executable).parent:
        return Check(True, "kernel", f"{sys.executable} runs the cells")
    return Check(False, "kernel", f"{program} would run the cells, not this Python: {command}")


def _data_folder() -> Check:
    if not data_dir().is_absolute():
        found = f"{data_dir()} depends on the folder of the notebook"
        return Check(False, "data folder", f"{found}: set D2LNLI_DATA_DIR to an absolute path")
    folder = data_dir()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    advice = "set D2LNLI_DATA_DIR to a folder that you may write to"
    if folder.is_dir() and not is_writable(folder):
        own = classifier_dir("model", "corpus").parent
        return Check(True, "data folder", f"{folder} (read only; classifiers are saved in {own})")
    if not is_writable(folder):
        return Check(False, "data folder", f"{folder} cannot be made in {nearest}: {advice}")
    free = shutil.disk_usage(nearest).free / 1e9
    if free < _MIN_FREE:
        found = f"{free:.2f} GB free for {folder}, but a class needs {_MIN_FREE} GB"
        return Check(False, "data folder", f"{found}: free some space, or {advice}")
    return Check(True, "data folder", f"{folder} ({free:.0f} GB free)")


def _bundled_model() -> Check:
    try:
        bert, vocab = load_pretrained_model("bert.tiny")
    except (OSError, ValueError) as error:
        advice = "python -m pip install --force-reinstall --no-deps -e . in the project's folder"
        return Check(False, "bundled model", f"cannot be opened ({error}): {advice}")
    num_parameters = sum(parameter.numel() for parameter in bert.parameters())
    return Check(True, "bundled model", f"{num_parameters:,} parameters, {len(vocab):,} words")


def _entry(name: str) -> Check:
    missing = f"not downloaded yet: {how_to_get(name)}"
    return Check(True, name, "present" if is_present(name) else missing)
