"""The only file of the tests that knows the package's modules; all others see its public names.

First the names that are not public and that tests need; then what tests replace. A replacement
holds until the test ends, or, in a process that a test starts, until that process does.
"""
# ruff: noqa: F401 (the tests import these names from here)

import contextlib
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from d2lnli import __main__ as command_line
from d2lnli import checkup, dataset, devices, training
from d2lnli.__main__ import _parser as parser
from d2lnli.__main__ import main
from d2lnli.bert import MultiHeadAttention
from d2lnli.dataset import NO_LABEL, LengthBuckets, as_pairs, encode_pair, shared_loader
from d2lnli.exercises.cases import CASES
from d2lnli.fast import encoding, graphs, network, optimizer
from d2lnli.fast.minibatches import inputs_on, ladder, loader_on
from d2lnli.fast.network import FastAttention, FastDropout, fast
from d2lnli.fast.optimizer import _MANY_ROWS as MANY_ROWS
from d2lnli.fast.optimizer import RowUpdater, Updater, adam, clip_gradients
from d2lnli.fast.parts import micro_batches
from d2lnli.fast.row_adam import RowAdam
from d2lnli.history import Record
from d2lnli.layouts.book import MXNET_NAMES
from d2lnli.layouts.mxnet import is_mxnet, read_mxnet
from d2lnli.layouts.weights import read_torch_tensors
from d2lnli.runs import folder as run_folder
from d2lnli.runs import launched, ranks
from d2lnli.runs.folder import CHECKPOINT, RunFolder, open_run
from d2lnli.runs.hook import Hook
from d2lnli.runs.hooks import Recorder
from d2lnli.runs.identity import made_of
from d2lnli.runs.launched import _environment as environment_of_ranks
from d2lnli.runs.meter import Meter
from d2lnli.runs.ranks import Agreement, Ranks, current_ranks, own_device
from d2lnli.runs.state import RunState
from d2lnli.show import charts, live, widgets
from d2lnli.show.charts import Picture, in_notebook
from d2lnli.show.colors import COLORS, OTHERS
from d2lnli.show.live import HistoryPicture, LivePlot, Progress
from d2lnli.show.widgets import EXAMPLES
from d2lnli.show.widgets import _table as table
from d2lnli.store import archives, classifiers, datasets, downloads, hub
from d2lnli.store.archives import extract_folder
from d2lnli.store.classifiers import find_classifier, read_made_of
from d2lnli.store.downloads import _ATTEMPTS as ATTEMPTS
from d2lnli.store.hub import ARCHITECTURES, how_to_get, is_present, is_writable
from d2lnli.store.results import RESULTS
from d2lnli.training import Training, run
from d2lnli.truncation import cut, cut_tokens
from d2lnli.vocab import SPECIAL_TOKENS, join_words, space_words, tokens_of
from tools import notebooks, pretraining
from tools.corpus import claims, grammar, lexicon, scenes

BUNDLED = Path(dataset.__file__).parent / "data"
MAKE_BUNDLED = "tools.data"  # for python -m
LAUNCHED = "--job"  # in the command of each process that a launched run starts

_replaced = pytest.MonkeyPatch()
put_back = _replaced.undo  # all of it, as after each test


def _replace(module: types.ModuleType, name: str, value: object) -> None:
    _replaced.setattr(module, name, value)


# ---- Clocks --------------------------------------------------------------------------------------


def first_wait(seconds: float) -> None:
    """Wait `seconds` before the second attempt of a download, and twice as long before the next."""
    _replace(downloads, "_FIRST_WAIT", seconds)


def server_is_lost_after(seconds: float) -> None:
    """Give up on a server that is silent for `seconds`."""
    _replace(downloads, "_TIMEOUT", (1, seconds))


def checkpoint_every(seconds: float) -> None:
    """Write a checkpoint every `seconds`; at 0, after each step."""
    _replace(run_folder, "_EVERY", seconds)


def look_for_stop_every(seconds: float) -> None:
    """Look for the file `stop` in a run's folder every `seconds`."""
    _replace(run_folder, "_LOOK_EVERY", seconds)


def agree_every(seconds: float) -> None:
    """Make ranks agree every `seconds` whether to stop; at 0, after each step."""
    _replace(ranks, "_AGREE_EVERY", seconds)


def last_words_take(seconds: float) -> None:
    """Give a rank that is told to end `seconds` to say why."""
    _replace(ranks, "_LAST_WORDS", seconds)


def look_at_launched_runs_every(seconds: float) -> None:
    """Look at the runs that this process follows every `seconds`."""
    _replace(launched, "_LOOK_EVERY", seconds)


def every_step_is_drawn() -> None:
    """Redraw the live plot after each step, however long that takes."""
    _replace(live, "_SHOW_EVERY", 0.0)
    _replace(live, "_MOST_SHARE", float("inf"))


# ---- Sizes ---------------------------------------------------------------------------------------


def archives_are_large_from(size: int) -> None:
    """Treat an archive as large from `size` bytes."""
    _replace(archives, "_LARGE", size)


def every_embedding_has_plain_adam() -> None:
    """Use plain Adam for the rows of every embedding."""
    _replace(optimizer, "_MANY_ROWS", 10**9)


def map_pairs_at_once(number: int) -> None:
    """Write a dataset to disk `number` pairs at a time."""
    _replace(datasets, "_PAIRS_AT_ONCE", number)


def encode_pairs_at_once(number: int) -> None:
    """Encode `number` pairs at a time."""
    _replace(encoding, "_PAIRS_AT_ONCE", number)


def pretraining_is_small(
    num_passages: int,
    num_epochs: int = pretraining.NUM_EPOCHS,
    sizes: dict[str, int] = pretraining.CONFIG,
) -> None:
    """Pretrain the bundled model on less text, for fewer epochs, with other sizes."""
    _replace(pretraining, "NUM_PASSAGES", num_passages)
    _replace(pretraining, "NUM_EPOCHS", num_epochs)
    _replace(pretraining, "CONFIG", sizes)


# ---- The machine ---------------------------------------------------------------------------------


def as_in_a_notebook(display: Callable) -> None:
    """Make the package believe that it runs in a notebook, with this function as its display."""
    for module in (charts, launched, live, training):
        _replace(module, "in_notebook", lambda: True)
    _replaced.setattr("IPython.display.display", display)


def disk_has(free: int) -> None:
    """Make the disk report `free` bytes."""
    _replace(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=free))


def disk_is_full_for_runs() -> None:
    """Fail whenever a file of a run is written."""

    def full(*_):
        raise OSError(28, "No space left on device")

    _replace(run_folder, "replace_file", full)


def is_read_only(folder: Path) -> None:
    """Make a folder and everything in it read-only, even for root."""
    for module in (hub, classifiers, checkup, command_line):
        _replace(module, "is_writable", lambda asked: folder not in (asked, *asked.parents))


def users_cache_is(folder: Path) -> None:
    """Make this the user's cache folder."""
    for module in (hub, classifiers):
        _replace(module, "user_cache_dir", lambda: folder)


def bf16_is_faster(times: float) -> None:
    """Make bf16 measure `times` times as fast as fp32."""
    for module in (devices, checkup):
        _replace(module, "bf16_speedup", lambda: times)


def nothing_is_timed() -> None:
    """Fail where the speed of bf16 is measured."""

    def fail():
        raise AssertionError("a matrix product was timed")

    for module in (devices, checkup):
        _replace(module, "bf16_speedup", fail)


def gpus_are(kind: str, number: int) -> None:
    """Make torch find so many GPUs of a kind; nothing can be computed on them."""
    _replace(torch.accelerator, "is_available", lambda: number > 0)
    _replace(torch.accelerator, "current_accelerator", lambda **_: torch.device(kind))
    _replace(torch.accelerator, "device_count", lambda: number)


def cpu_passes_for(kind: str) -> None:
    """Let the package take the CPU for a GPU of this kind, 'cuda', 'mps' or 'xpu'.

    What such a GPU's part of torch would do on its own, a CPU does in its place: it keeps a random
    state, pins no memory, and takes each captured step again instead of replaying kernels.
    """
    asked, answer = devices.kind, lambda _: kind
    for name, module in list(sys.modules.items()):
        if name.startswith("d2lnli.") and vars(module).get("kind") is asked:
            _replace(module, "kind", answer)
    part, states = torch.get_device_module(kind), [torch.arange(16, dtype=torch.uint8)]
    _replaced.setattr(part, "get_rng_state", lambda _: states[-1].clone(), raising=False)
    _replaced.setattr(part, "set_rng_state", lambda state, _: states.append(state), raising=False)
    _replaced.setattr(part, "set_device", lambda _: None, raising=False)
    _replaced.setattr(Tensor, "pin_memory", lambda tensor: tensor)
    _replace(graphs, "own_stream", lambda _: contextlib.nullcontext())
    _replace(graphs, "Graph", _StepInPlace)


class _StepInPlace(graphs.Graph):
    """A captured step without a GPU: Python takes it, with inputs and outputs at fixed places."""

    def __init__(self, step, X, y, other):
        self.step, self.X, self.y = step, [x.clone() for x in X], y.clone()
        self.num_pairs, self.times = torch.ones(()), 0
        self.graph = types.SimpleNamespace(replay=self._take)

    def _take(self) -> None:
        self.measured, self.times = self.step(self.X, self.y, self.num_pairs), self.times + 1


def captures_on_a_cpu(error: Exception | None = None) -> list[_StepInPlace]:
    """Let the CPU pass for a CUDA GPU; return a list that gets its captured steps.

    With an `error`, each capture raises it.
    """
    cpu_passes_for("cuda")
    captured: list[_StepInPlace] = []

    def capture(*given):
        if error:
            raise error
        captured.append(_StepInPlace(*given))
        return captured[-1]

    _replace(graphs, "Graph", capture)
    return captured


def attention_is_fused() -> None:
    """Use the fused attention, as on a GPU."""
    _replace(network, "fused_is_faster", lambda _: True)


def nobody_to_join() -> None:
    """Enter a process group without other processes."""
    _replace(ranks, "_join", lambda: None)


# ---- Steps of the work ---------------------------------------------------------------------------


def every_run_is_told_to_stop() -> None:
    """Stop each run after its first step, as the file `stop` does."""
    _replaced.setattr(RunFolder, "is_to_stop", lambda _: True)


def training_is(function: Callable) -> None:
    """Replace the training in load_or_finetune."""
    _replace(training, "finetune", function)


def scoring_is(function: Callable) -> None:
    """Replace the evaluation in finetune."""
    _replace(training, "evaluate", function)


def loading_is(function: Callable) -> None:
    """Replace the loading of pretrained models in the command line."""
    _replace(command_line, "load_pretrained_model", function)


def classifier_loading_is(function: Callable) -> None:
    """Replace the loading of classifiers in the command line and in load_or_finetune."""
    for module in (command_line, training):
        _replace(module, "load_classifier", function)


def reading_is(function: Callable) -> None:
    """Replace the reading of pairs in the command line."""
    _replace(command_line.PairFile, "read", function)


def mapping_first(function: Callable[[], None]) -> None:
    """Call a function before each encoding for a dataset on disk."""
    encode = datasets.encode_pairs

    def call_and_encode(*arguments, **more):
        function()
        return encode(*arguments, **more)

    _replace(datasets, "encode_pairs", call_and_encode)


def every_recipe_is_that_of(model: str) -> None:
    """Use one model's recipe for all models of the command line."""
    _replace(command_line, "recipe", lambda _, recipe=command_line.recipe: recipe(model))


def heat_maps_are_kept() -> list[tuple]:
    """Return a list to which each attention picture appends what it was given."""
    seen, draw = [], widgets.heat_map

    def keep_and_draw(*given, **more):
        seen.append((*given, more))
        return draw(*given, **more)

    _replace(widgets, "heat_map", keep_and_draw)
    return seen
