"""`python -m d2lnli check`: OK on a machine that is ready, else FAIL and the way out."""

import json
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

import pytest

import d2lnli as d2l
import seams
from seams import main


def checked(capsys) -> tuple[int, list[str], list[str]]:
    """The exit status, what was looked at, and the lines that failed."""
    status = main(["check"])
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("OK    ", "FAIL  ")) for line in lines)
    failed = [line[6:] for line in lines if line.startswith("FAIL")]
    return status, [line[6:].split(":")[0] for line in lines], failed


def only_failure(capsys) -> str:
    status, _, failed = checked(capsys)
    assert status == 1
    assert len(failed) == 1, failed
    return failed[0]


def test_a_machine_that_is_ready(capsys, data_dir):
    status, whats, failed = checked(capsys)
    assert (status, failed) == (0, [])
    assert whats == [
        "Python", "torch", "numpy", "matplotlib", "jupyterlab", "ipykernel", "ipywidgets",
        "jupyterlab_widgets", "threads", "device", "precision", "jupyter", "kernel", "data folder",
        "bundled model", *d2l.DATA_HUB,
    ]  # fmt: skip
    assert not data_dir.exists(), "to look is not to make"


def test_an_old_python(capsys, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9))
    assert "3.11 or newer" in only_failure(capsys)


@pytest.mark.parametrize("name, bound", [("ipywidgets", ">=8.1"), ("jupyterlab_widgets", "")])
def test_a_missing_package(capsys, monkeypatch, name, bound):
    def version(asked):
        if asked == name:
            raise metadata.PackageNotFoundError(name)
        return found(asked)

    found = metadata.version
    monkeypatch.setattr(metadata, "version", version)
    failure = only_failure(capsys)
    assert failure.startswith(f"{name}: ")
    assert f"python -m pip install --upgrade '{name}{bound}'" in failure


def test_a_package_that_is_too_old(capsys, monkeypatch):
    found = metadata.version
    monkeypatch.setattr(metadata, "version", lambda x: "7.8.5" if x == "ipywidgets" else found(x))
    failure = only_failure(capsys)
    assert failure.startswith("ipywidgets: 7.8.5 ")
    assert "pip install --upgrade 'ipywidgets>=8.1'" in failure


def test_a_package_of_a_folder_that_is_not_installed(capsys, monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert main(["check"]) == 0


def test_a_terminal_without_the_environment(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert re.match("jupyter: .*activate", only_failure(capsys))
    (tmp_path / "jupyter").write_text("#!/bin/sh\n")
    (tmp_path / "jupyter").chmod(0o755)
    assert "another Python" in only_failure(capsys)


def test_a_kernel_of_another_python(capsys, monkeypatch, tmp_path):
    folder = tmp_path / "kernels" / "python3"
    folder.mkdir(parents=True)
    spec = {"argv": ["/opt/other/bin/python", "-m", "ipykernel_launcher", "-f", "{x}"],
            "display_name": "Python 3", "language": "python"}  # fmt: skip
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    failure = only_failure(capsys)
    assert failure.startswith("kernel: /opt/other/bin/python ")
    assert re.search(rf"{sys.executable} -m ipykernel install --\S+ --name python3", failure)


def test_a_kernel_of_this_python_by_its_path(capsys, monkeypatch, tmp_path):
    folder = tmp_path / "kernels" / "python3"
    folder.mkdir(parents=True)
    program = str(Path(sys.executable).with_name("python3.11"))
    spec = {"argv": [program], "display_name": "Python 3", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert main(["check"]) == 0


def test_jupyter_itself_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jupyter_client.kernelspec", None)
    assert "pip install --upgrade jupyterlab" in only_failure(capsys)


def test_a_relative_data_folder(capsys, monkeypatch):
    monkeypatch.setenv("D2LNLI_DATA_DIR", "data")
    assert "D2LNLI_DATA_DIR" in only_failure(capsys)


def test_a_data_folder_that_cannot_be_made(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("D2LNLI_DATA_DIR", str(tmp_path / "file" / "data"))
    assert "D2LNLI_DATA_DIR" in only_failure(capsys)


def test_a_data_folder_that_is_shared_is_fine(capsys, data_dir):
    data_dir.mkdir()
    seams.is_read_only(data_dir)
    assert main(["check"]) == 0
    assert "read only" in capsys.readouterr().out


def test_a_full_disk(capsys, data_dir):
    seams.disk_has(free=50_000_000)
    failure = only_failure(capsys)
    assert "0.05 GB free" in failure
    assert "D2LNLI_DATA_DIR" in failure


def test_a_bundled_model_that_lost_a_file(capsys, monkeypatch, tmp_path):
    lost = tmp_path / "bert.tiny"
    shutil.copytree(d2l.download_extract("bert.tiny"), lost)
    (lost / "pretrained.params").write_bytes(b"version https://git-lfs.example/v1")
    monkeypatch.setitem(d2l.DATA_HUB, "bert.tiny", (lost.as_uri(), None))
    failure = only_failure(capsys)
    assert failure.startswith("bundled model: ")
    assert "--force-reinstall" in failure
