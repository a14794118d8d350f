"""A training in processes of its own: whoever starts it goes on with something else meanwhile.

torchrun starts the processes, in a session of their own, so that a closed tab and even a lost
kernel leave them alone; `job.py` is what they run, `following.py` watches them.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .bert import BERTClassifier
from .classifiers import built, classifier_config, save_classifier
from .distributed import check_can_join
from .files import is_taken
from .following import JOB, LOG, STARTING, LaunchedRun
from .layouts.files import read_json
from .mapped import save_dataset
from .runs import LAUNCHED
from .snli import SNLIBERTDataset

_LONGEST_START = 120.0  # seconds


def launch_run(
    net: BERTClassifier,
    train_set: SNLIBERTDataset,
    dev_set: SNLIBERTDataset | None,
    settings: dict,
    devices: Sequence[torch.device],
    run_dir: str | Path | None,
) -> LaunchedRun:
    """Start a process for each device; together they do `finetune(net, …, **settings)`.

    If the same run is still at work in `run_dir`, since before this kernel was started, it is
    followed instead.
    """
    check_can_join()
    config = classifier_config(net)
    _check_plain(net, config)
    environment = _environment(devices)
    run_folder = Path(run_dir or tempfile.mkdtemp(prefix="d2lnli-run-")).absolute()
    folder, process = run_folder / LAUNCHED, None
    datasets = {name: data for name, data in (("train", train_set), ("dev", dev_set)) if data}
    job = {
        "net": config,
        "frozen": list(frozen_parts(net)),
        "settings": settings,
        "checksums": {name: data.fingerprint() for name, data in datasets.items()},
        "datasets": {name: str(data.folder or folder / name) for name, data in datasets.items()},
    }
    text = json.dumps(job, indent=2, default=lambda number: number.item())
    mark = run_folder / STARTING
    while mark.exists() and time.time() - mark.stat().st_mtime < _LONGEST_START:
        time.sleep(0.2)  # for another call has just started it
    if is_taken(folder / JOB):
        if read_json(folder / JOB, dict) != json.loads(text):
            raise BlockingIOError(
                f"a run with other settings or data is at work in {run_folder}: wait for its end, "
                "or take another folder"
            )
        print(f"following the run that is at work in {run_folder}")
    else:
        run_folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
        _put_down(folder, net, datasets, text)
        process = _start(folder, len(devices), environment)
        print(f"processes: {len(devices)}, at work in {run_folder}")
    split = "dev" if dev_set else None
    return LaunchedRun(net, folder, process, settings["num_epochs"], split, run_dir is None)


def _check_plain(net: BERTClassifier, config: dict) -> None:
    """Raise ValueError if the network is another than its sizes say, for those are passed on."""
    with torch.device("meta"):
        plain = built(config)
    if type(net).forward is not BERTClassifier.forward or repr(net) != repr(plain):
        raise ValueError(f"this {type(net).__name__} has parts of its own: train it without launch")


def frozen_parts(net: nn.Module, prefix: str = "") -> Iterator[str]:
    """Yield the names of the largest parts, or of parameters, that do not learn."""
    parts: list[tuple[str, Any]]
    parts = [*net.named_children(), *net.named_parameters(recurse=False)]
    for name, part in parts:
        parameters = [part] if isinstance(part, nn.Parameter) else list(part.parameters())
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        if parameters and not learning:
            yield prefix + name
        elif len(learning) < len(parameters):
            yield from frozen_parts(part, f"{prefix}{name}.")


def _environment(devices: Sequence[torch.device]) -> dict[str, str]:
    """Return the variables by which each process gets a device of its own."""
    if any(device.type not in ("cuda", "cpu") for device in devices):
        raise ValueError(
            f"devices={list(devices)}: processes of their own train on CUDA's GPUs or on the CPU; "
            "take one device, without launch"
        )
    gpus = [str(device.index or 0) for device in devices if device.type == "cuda"]
    if len(gpus) not in (0, len(devices)) or len(set(gpus)) < len(gpus):
        raise ValueError(f"devices={list(devices)}: give different GPUs, or the CPU several times")
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        gpus = [visible.split(",")[int(gpu)] for gpu in gpus]
    threads = max(1, torch.get_num_threads() // len(devices))
    given = {"OMP_NUM_THREADS": str(threads), **os.environ}
    return {**given, "CUDA_VISIBLE_DEVICES": ",".join(gpus)}


def _put_down(
    folder: Path, net: BERTClassifier, datasets: dict[str, SNLIBERTDataset], job: str
) -> None:
    """Write what the processes start from; what is mapped already is used where it is."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_classifier(folder / "net", net, datasets["train"].vocab)
    for name, data in datasets.items():
        if not data.folder:
            save_dataset(folder / name, data)
    (folder / JOB).write_text(job, encoding="utf-8")


def _start(folder: Path, num_processes: int, environment: dict[str, str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={num_processes}", "-m", "d2lnli.job", str(folder)]
    with (folder / LOG).open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
