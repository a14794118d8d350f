"""Is this machine ready for the course? One check for each thing that a class needs."""

import os
import platform
import sys
from importlib import metadata
from typing import NamedTuple

import torch

from .devices import bf16_speedup, choose_precision, try_all_gpus
from .hub import DATA_HUB, data_dir, is_present

_OLDEST_PYTHON = (3, 11)


class Check(NamedTuple):
    """One thing that was looked at: is it as it must be, and what was found."""

    ok: bool
    what: str
    found: str


def checkup() -> list[Check]:
    """Look at Python, torch, device, precision, notebooks, widgets and the data folder."""
    return [
        _python(),
        Check(True, "torch", f"{torch.__version__}, {torch.get_num_threads()} thread(s)"),
        *_device_and_precision(),
        _package("jupyterlab", "opens the notebooks"),
        _package("ipywidgets", "the parts that answer to a click"),
        _package("jupyterlab_widgets", "shows them in JupyterLab"),
        _package("matplotlib", "the plots"),
        _data_folder(),
        *(_entry(name) for name in DATA_HUB),
    ]


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    ok = sys.version_info >= _OLDEST_PYTHON
    return Check(ok, "Python", found if ok else f"{found}: install 3.11 or newer")


def _device_and_precision() -> list[Check]:
    devices = try_all_gpus()
    gpus = [torch.cuda.get_device_name(device) for device in devices if device.type == "cuda"]
    found = ", ".join(gpus) or "cpu (torch finds no GPU; the bundled data needs none)"
    chosen, speedup = choose_precision("auto", devices[0]), bf16_speedup(devices[0].type)
    precision = f"{chosen} (a bf16 matrix product runs at {speedup:.1f} times the speed of fp32)"
    return [Check(True, "device", found), Check(True, "precision", precision)]


def _package(name: str, purpose: str) -> Check:
    try:
        return Check(True, name, f"{metadata.version(name)} ({purpose})")
    except metadata.PackageNotFoundError:
        return Check(False, name, f"missing ({purpose}): pip install {name}")


def _data_folder() -> Check:
    folder = data_dir().absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK):
        return Check(True, "data folder", str(folder))
    if folder.is_dir():
        return Check(True, "data folder", f"{folder} (read only: what is in it can be used)")
    way_out = "set D2LNLI_DATA_DIR to a folder that you may write to"
    return Check(False, "data folder", f"{folder} cannot be made, see {nearest}: {way_out}")


def _entry(name: str) -> Check:
    missing = f"not downloaded yet: python -m d2lnli download {name}"
    return Check(True, name, "present" if is_present(name) else missing)
