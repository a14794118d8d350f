"""A training run in separate processes, so that the notebook is free meanwhile.

torchrun starts the processes in a session of their own, so a closed tab or a lost kernel does not
end them. They write to `history.csv` in the run folder, and stop if a file `stop` appears there.
"""

import contextlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import torch

from ..bert import BERTClassifier
from ..dataset import SNLIBERTDataset
from ..history import History
from ..show.charts import in_notebook
from ..show.live import LivePlot
from ..store.classifiers import (
    CLASSIFIER,
    built,
    classifier_config,
    read_classifier,
    write_classifier,
)
from ..store.files import exclusive_lock, is_locked, read_json
from .failures import is_out_of_memory
from .folder import HISTORY, LAUNCHED, PROVISIONAL, STOP
from .identity import frozen_parts
from .ranks import DEVICES, Ranks, check_can_join

_JOB, _BEFORE, _AFTER, _LOG, _STARTING = "job.json", "before", "after", "log.txt", "starting"
_LOOK_EVERY = 0.5  # seconds
_MAX_START_TIME = 120.0  # seconds


def launch_run(
    net: BERTClassifier,
    train_set: SNLIBERTDataset,
    dev_set: SNLIBERTDataset | None,
    settings: dict,
    devices: Sequence[torch.device],
    run_dir: str | Path | None,
    plot: bool = True,
) -> "LaunchedRun":
    """Start a process for each device; together they do `finetune(net, …, **settings)`.

    If the same run is already running in `run_dir`, follow it, even if another kernel started it.
    """
    check_can_join()
    _check_plain(net)
    environment = _environment(devices)
    run_folder = Path(run_dir or tempfile.mkdtemp(prefix="d2lnli-run-")).absolute()
    folder, process = run_folder / LAUNCHED, None
    datasets = {name: data for name, data in (("train", train_set), ("dev", dev_set)) if data}
    job = {
        "net": classifier_config(net),
        "frozen": list(frozen_parts(net)),
        "settings": settings,
        "checksums": {name: data.fingerprint() for name, data in datasets.items()},
        "datasets": {name: str(data.folder or folder / name) for name, data in datasets.items()},
    }
    text = json.dumps(job, indent=2, default=lambda number: number.item())
    while _has_just_started(run_folder / _STARTING):  # another call is starting the run
        time.sleep(0.2)
    if is_locked(folder / _JOB):
        if read_json(folder / _JOB, dict) != json.loads(text):
            raise BlockingIOError(
                f"a run with other settings or data is running in {run_folder}: wait until it "
                "ends, or choose another folder"
            )
        print(f"following the run in {run_folder}")
    else:
        _write_job(folder, text, net, datasets)
        process = _start(folder, len(devices), environment)
        print(f"processes: {len(devices)}, running in {run_folder}")
    split = "dev" if dev_set else None
    shown = settings["num_epochs"], split, plot
    return LaunchedRun(net, folder, process, *shown, run_dir is None)


def _write_job(
    folder: Path, text: str, net: BERTClassifier, datasets: dict[str, SNLIBERTDataset]
) -> None:
    """Write what the processes of a run read: its job, its network and its datasets."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    (folder.parent / _STARTING).touch()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / _BEFORE).mkdir(parents=True)
    write_classifier(folder / _BEFORE / CLASSIFIER, net, datasets["train"].vocab)
    for name, data in datasets.items():
        if not data.folder:  # a mapped dataset is used where it is
            data.save(folder / name)
    (folder / _JOB).write_text(text, encoding="utf-8")


def _has_just_started(marker: Path) -> bool:
    try:
        return time.time() - marker.stat().st_mtime < _MAX_START_TIME
    except FileNotFoundError:
        return False


def _check_plain(net: BERTClassifier) -> None:
    """Raise ValueError if a network built from the net's sizes would differ from the net."""
    with torch.device("meta"):
        plain = built(classifier_config(net))
    if type(net).forward is not BERTClassifier.forward or repr(net) != repr(plain):
        raise ValueError(f"this {type(net).__name__} has custom parts: train it without launch")


def _environment(devices: Sequence[torch.device]) -> dict[str, str]:
    """Return environment variables that give each process its own device."""
    if any(device.type == "meta" for device in devices):
        raise ValueError(f"devices={list(devices)}: launch trains on GPUs or on the CPU")
    gpus = [device.index or 0 for device in devices if device.type != "cpu"]
    if len(gpus) not in (0, len(devices)) or len(set(gpus)) < len(gpus):
        raise ValueError(f"devices={list(devices)}: use different GPUs, or the CPU several times")
    threads = max(1, torch.get_num_threads() // len(devices))
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    return {**environment, DEVICES: ",".join(map(str, devices)), **_WITHOUT_LIBUV}


_WITHOUT_LIBUV = {"USE_LIBUV": "0", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""torch for Windows has no libuv, which torchrun's store needs, so `_start` uses a file."""


def _start(folder: Path, num_processes: int, environment: dict[str, str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={num_processes}"]
    # the store is a temporary file of torchrun; in a run folder that is moved, torchrun would hang
    command += ["--rdzv-backend=c10d", "--rdzv-conf=store_type=file", "--local-addr=127.0.0.1"]
    command += ["-m", "d2lnli", "finetune", "--job", str(folder)]
    with (folder / _LOG).open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )


@contextlib.contextmanager
def open_job(folder: Path, ranks: Ranks) -> Iterator[tuple[dict, Callable[[History], None]]]:
    """Read the job of a launched run: the arguments of `finetune`, and a function for the end.

    That function takes the history, and saves it and the trained network for the process that
    launched the run. Rank 0 holds the job's lock meanwhile.
    """
    with contextlib.ExitStack() as stack:
        if ranks.rank == 0:
            stack.enter_context(exclusive_lock(folder / _JOB))
            (folder.parent / _STARTING).unlink(missing_ok=True)
        job = read_json(folder / _JOB, dict)
        _, net, vocab = read_classifier(folder / _BEFORE)
        for name in job["frozen"]:
            attrgetter(name)(net).requires_grad_(False)
        data = {name: SNLIBERTDataset.load(path, vocab) for name, path in job["datasets"].items()}
        arguments = {"net": net, "train_set": data["train"], "dev_set": data.get("dev")}

        def finish(history: History) -> None:
            if ranks.rank == 0:
                (folder / _AFTER).mkdir(parents=True, exist_ok=True)
                write_classifier(folder / _AFTER / CLASSIFIER, net, vocab, history)

        yield {**arguments, **job["settings"], "run_dir": folder.parent}, finish


class LaunchedRun:
    """A run in other processes: its `history` so far, `wait()` for its end, and `stop()`.

    Everything that reads the net waits for the end; then the net has the trained weights. The
    notebook's stop button stops the run while a cell waits; a button below the curves also does.
    `process` is torchrun, or None if another kernel started it.
    """

    def __init__(
        self,
        net: BERTClassifier,
        folder: Path,
        process: subprocess.Popen | None,
        num_epochs: int,
        split: str | None,
        plot: bool,
        temporary: bool,
    ):
        self.net, self.folder, self.process, self.temporary = net, folder, process, temporary
        self.stopping = self.waiting = False
        self.history = self.written = History()  # history may end in a provisional point
        self.error: OSError | MemoryError | None = None
        self.hooks = [
            net.encoder.token_embedding.register_forward_pre_hook(self._before_use),
            net.register_state_dict_pre_hook(self._before_use),
        ]
        self.take_over_lock = threading.Lock()
        self.panel = _Panel(self, num_epochs, split) if plot and in_notebook() else None
        self.ended = threading.Event()  # not join(): an interrupted join() marks a thread as ended
        threading.Thread(target=self._follow, daemon=True).start()

    def __repr__(self) -> str:
        return f"<LaunchedRun in {self.folder.parent}>"

    def __deepcopy__(self, memo: dict) -> "LaunchedRun":
        raise ValueError(
            "other processes train this network: call wait() of its run before you copy it"
        )

    def stop(self) -> None:
        """Stop the run after its current step; a second call ends it within half a minute."""
        if self.stopping and self.process:
            self.process.terminate()
        self.stopping = True

    def is_at_work(self) -> bool:
        """Return whether the run is not finished."""
        return self.process.poll() is None if self.process else is_locked(self.folder / _JOB)

    def wait(self) -> History:
        """Wait for the end of the run, load its weights into the net, and return the history.

        Raises OSError if the run failed, and MemoryError if memory ran out.
        """
        try:
            self.waiting = True
            while self.is_at_work() or not self.ended.is_set():
                time.sleep(_LOOK_EVERY)
        except KeyboardInterrupt:
            second_press = self.stopping
            self.stop()
            if second_press:
                raise
            return self.wait()
        finally:
            self.waiting = False
        with self.take_over_lock:
            if self.hooks:
                self._take_over()
        if self.error:
            raise self.error
        return self.history

    def _before_use(self, *_: object) -> None:
        self.wait()

    def _take_over(self) -> None:
        while self.hooks:
            self.hooks.pop().remove()
        try:
            _, trained, _ = read_classifier(self.folder / _AFTER)
            self.net.load_state_dict(trained.state_dict())
            self.net.history = self.history = trained.history or self.history
        except FileNotFoundError:
            failed = OSError(self.why_it_failed())
            self.error = MemoryError(*failed.args) if is_out_of_memory(failed) else failed
        except (OSError, ValueError, RuntimeError) as error:
            self.error = OSError(f"{self.folder} cannot be read ({error}): launch the run again")
        if self.temporary and not self.error:
            shutil.rmtree(self.folder.parent, ignore_errors=True)

    def has_outcome(self) -> bool:
        """Return whether the processes saved a trained network."""
        return (self.folder / _AFTER / CLASSIFIER).is_file()

    def why_it_failed(self) -> str:
        """Return a message that says why the run failed, with the error from its log."""
        log = self.folder / _LOG
        if not log.is_file():
            return f"the run in {self.folder.parent} failed: its folder is gone, so start it again"
        lines = log.read_text("utf-8", "replace").splitlines()
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        errors += [line for line in lines if re.match(r"\w+Error: ", line)]
        reason = errors[0] if errors else "its processes were killed"
        return f"the run in {self.folder.parent} failed: {reason} (see {log})"

    def _follow(self) -> None:
        """Follow the run until it ends, in a separate thread."""
        stop, marker = self.folder.parent / STOP, self.folder.parent / _STARTING
        running, self.modified_at = True, 0
        try:
            while running:
                time.sleep(_LOOK_EVERY)
                running = self.is_at_work()
                if self.stopping and running:  # repeat, because a run that begins deletes the file
                    self._request_stop(stop)
                self.history = self._read_history(running)
                if self.panel:
                    self.panel.update(ended=not running)
            for file in (stop, marker):
                file.unlink(missing_ok=True)
        finally:
            self.ended.set()

    def _read_history(self, running: bool) -> History:
        """Return the history so far; while the run goes on, with a provisional point."""
        path = self.folder.parent / HISTORY
        with contextlib.suppress(OSError, ValueError):  # missing, or changed by somebody else
            if path.stat().st_mtime_ns != self.modified_at:
                self.modified_at, self.written = path.stat().st_mtime_ns, History.load(path)
        with contextlib.suppress(OSError, ValueError):
            latest = History.load(self.folder / PROVISIONAL)
            if running and latest.epoch > self.written.epoch:
                return replace(latest, records=[*self.written.records, *latest.records])
        return self.written

    def _request_stop(self, file: Path) -> None:
        try:
            file.touch()
        except OSError:  # the run folder is gone
            if self.process:
                self.process.terminate()


class _Panel:
    """The curves of a launched run, a line with its status, and a stop button."""

    def __init__(self, run: LaunchedRun, num_epochs: int, split: str | None):
        import ipywidgets
        from IPython.display import display

        self.run, self.num_epochs, self.drawn_epoch = run, num_epochs, 0.0
        self.plot = LivePlot(num_epochs, split)
        self.line = ipywidgets.HTML("the processes are starting")
        self.button = ipywidgets.Button(description="Stop", icon="stop")
        self.button.on_click(lambda _: run.stop())
        display(ipywidgets.HBox([self.button, self.line]))

    def update(self, ended: bool) -> None:
        """Draw the curves and the status of the run."""
        history, status = self.run.history, "the processes are starting"
        if history.records:
            last = history.records[-1]
            status = (
                f"epoch {last.epoch:.2f} of {self.num_epochs}: {last.means()}, "
                f"{last.pairs_per_sec:,.0f} examples/sec"
            )
        if ended:
            status = f"ended at {status}" if self.run.has_outcome() else self.run.why_it_failed()
            self.button.layout.display = "none"
        elif self.run.stopping:
            status += "; stopping (again: at once)"
        elif self.run.waiting:  # the kernel is busy, so a click would arrive too late
            status += "; a cell waits for the end (■ in the toolbar stops the run)"
        self.button.disabled = self.run.waiting
        self.line.value = html.escape(status)
        if ended or history.epoch != self.drawn_epoch:
            self.plot.update(history)
            self.drawn_epoch = history.epoch
