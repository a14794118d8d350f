"""The only file of the tests that knows the package's modules; all others see its public names.

First the names that are not public and that tests need; then what tests replace. A replacement
holds until the test ends, or, in a process that a test starts, until that process does.
"""
# ruff: noqa: F401 (the tests import these names from here)

import shutil
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from d2lnli import __main__ as command_line
from d2lnli import (
    archives,
    checkup,
    devices,
    distributed,
    downloads,
    encoding,
    finetuned,
    following,
    hub,
    job,
    mapped,
    notebooks,
    optimizer,
    plotting,
    progress,
    runs,
    self_attention,
    training,
    widgets,
)
from d2lnli.__main__ import _parser as parser
from d2lnli.__main__ import main
from d2lnli.archives import extract_folder
from d2lnli.bundled import claims, grammar, lexicon, pretraining, scenes
from d2lnli.distributed import (
    Agreement,
    all_devices,
    from_all_ranks,
    from_rank_0,
    own_device,
    rank,
    sum_over_ranks,
    world_size,
)
from d2lnli.downloads import _ATTEMPTS as ATTEMPTS
from d2lnli.exercises.cases import CASES
from d2lnli.history import Record
from d2lnli.hub import ARCHITECTURES, find_classifier, how_to_get, is_present, is_writable
from d2lnli.launching import _environment as environment_of_ranks
from d2lnli.layouts.book import MXNET_NAMES
from d2lnli.layouts.files import read_torch_tensors
from d2lnli.layouts.mxnet import is_mxnet, read_mxnet
from d2lnli.loop import Meter, Training, micro_batches
from d2lnli.mapped import load_dataset, save_dataset
from d2lnli.minibatches import NO_LABEL, LengthBuckets, shared_loader
from d2lnli.optimizer import _MANY_ROWS as MANY_ROWS
from d2lnli.optimizer import RowAdam, adam, clip_gradients
from d2lnli.plotting import HistoryPicture, LivePlot, Picture, in_notebook
from d2lnli.progress import Progress
from d2lnli.runs import CHECKPOINT, RunFolder
from d2lnli.self_attention import Dropout, MultiHeadAttention
from d2lnli.snli import as_pairs
from d2lnli.text import join_words, space_words, tokens_of
from d2lnli.training import lr_factor, made_of
from d2lnli.truncation import cut, cut_tokens
from d2lnli.widgets import EXAMPLES
from d2lnli.widgets import _table as table
from d2lnli.wordpiece import SPECIAL_TOKENS

BUNDLED = Path(lexicon.__file__).parent
MAKE_BUNDLED = f"{lexicon.__package__}.make"  # for python -m
LAUNCHED = job.__name__  # in the command of each process that a launched run starts

_replaced = pytest.MonkeyPatch()
put_back = _replaced.undo  # all of it, as after each test


def _replace(module: types.ModuleType, name: str, value: object) -> None:
    _replaced.setattr(module, name, value)


# ---- Clocks --------------------------------------------------------------------------------------


def first_wait(seconds: float) -> None:
    """Let a download that broke wait so long for its second attempt, then twice as long."""
    _replace(downloads, "_FIRST_WAIT", seconds)


def server_is_lost_after(seconds: float) -> None:
    """Let a download give up a server that says nothing for so long."""
    _replace(downloads, "_TIMEOUT", (1, seconds))


def checkpoint_every(seconds: float) -> None:
    """Let a run with a folder write a checkpoint so often; at 0 after each step."""
    _replace(runs, "_EVERY", seconds)


def look_for_stop_every(seconds: float) -> None:
    """Let a run look so often for the file `stop` in its folder."""
    _replace(runs, "_LOOK_EVERY", seconds)


def agree_every(seconds: float) -> None:
    """Let ranks tell each other so often whether to stop; at 0 after each step."""
    _replace(distributed, "_AGREE_EVERY", seconds)


def last_words_take(seconds: float) -> None:
    """Let a rank that is told to end have so long to say why."""
    _replace(distributed, "_LAST_WORDS", seconds)


def look_at_launched_runs_every(seconds: float) -> None:
    """Let this process look so often at the runs that it follows."""
    _replace(following, "_LOOK_EVERY", seconds)


def every_step_is_drawn() -> None:
    """Let a run draw a picture after each step, however long that takes."""
    _replace(progress, "_SHOW_EVERY", 0.0)
    _replace(progress, "_MOST_SHARE", float("inf"))


# ---- Sizes ---------------------------------------------------------------------------------------


def archives_are_large_from(size: int) -> None:
    """Let an archive that grows to so many bytes be one that can do harm."""
    _replace(archives, "_LARGE", size)


def every_embedding_has_plain_adam() -> None:
    """Let no embedding have so many rows that the optimizer is lazy about them."""
    _replace(optimizer, "_MANY_ROWS", 10**9)


def map_pairs_at_once(number: int) -> None:
    """Let a dataset on disk be written so many pairs at a time."""
    _replace(mapped, "_PAIRS_AT_ONCE", number)


def encode_pairs_at_once(number: int) -> None:
    """Let so many pairs be encoded at a time, and be enough for a process of their own."""
    _replace(encoding, "_PAIRS_AT_ONCE", number)
    _replace(encoding, "_PAIRS_PER_WORKER", number)


def pretraining_is_small(
    num_passages: int,
    num_epochs: int = pretraining.NUM_EPOCHS,
    sizes: dict[str, int] = pretraining.CONFIG,
) -> None:
    """Let the bundled model learn from less text, in fewer epochs, and have other sizes."""
    _replace(pretraining, "NUM_PASSAGES", num_passages)
    _replace(pretraining, "NUM_EPOCHS", num_epochs)
    _replace(pretraining, "CONFIG", sizes)


# ---- The machine ---------------------------------------------------------------------------------


def as_in_a_notebook(display: Callable) -> None:
    """Let the package take itself to be in a notebook, whose display is this one."""
    for module in (finetuned, following, plotting, progress, training):
        _replace(module, "in_notebook", lambda: True)
    _replaced.setattr("IPython.display.display", display)


def launched_runs_go_on_beside() -> None:
    """Let a launched run leave this process free, as in a notebook, but draw nothing."""
    _replace(training, "in_notebook", lambda: True)


def disk_has(free: int) -> None:
    """Let the disk have so many bytes free."""
    _replace(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=free))


def disk_is_full_for_runs() -> None:
    """Let no file of a run be written."""

    def full(*_):
        raise OSError(28, "No space left on device")

    _replace(runs, "replace_file", full)


def is_read_only(folder: Path) -> None:
    """Let a folder and all in it be another's, even for root."""
    for module in (hub, checkup, command_line):
        _replace(module, "is_writable", lambda asked: folder not in (asked, *asked.parents))


def users_cache_is(folder: Path) -> None:
    """Let this be the folder that the system gives the user for caches."""
    _replace(hub, "_cache_dir", lambda: folder)


def bf16_is_faster(times: float) -> None:
    """Let bf16 be so many times as fast as fp32."""
    _replace(devices, "bf16_speedup", lambda _: times)


def attention_is_fused() -> None:
    """Let attention take the way that a GPU takes."""
    _replace(self_attention, "fused_is_faster", lambda _: True)


def is_one_of_ranks(number: int) -> None:
    """Let this process be one of so many."""
    _replace(distributed, "world_size", lambda: number)


def nobody_to_join() -> None:
    """Let a process group be entered without other processes."""
    _replace(distributed, "_join", lambda: None)


def count_processes_that_encode() -> list[int]:
    """Return a list that grows by the number of processes whenever some are started."""
    started, executor = [], encoding.ProcessPoolExecutor

    def counting(number: int):
        started.append(number)
        return executor(number)

    _replace(encoding, "ProcessPoolExecutor", counting)
    return started


# ---- Steps of the work ---------------------------------------------------------------------------


def every_run_is_told_to_stop() -> None:
    """Let each run find the file `stop` after its first step."""
    _replaced.setattr(RunFolder, "is_to_stop", lambda _: True)


def training_is(function: Callable) -> None:
    """Let load_or_finetune train by this function."""
    _replace(finetuned, "finetune", function)


def scoring_is(function: Callable) -> None:
    """Let finetune measure the dev set by this function."""
    _replace(training, "evaluate", function)


def loading_is(function: Callable) -> None:
    """Let the command line load pretrained models by this function."""
    _replace(command_line, "load_pretrained_model", function)


def reading_is(function: Callable) -> None:
    """Let the command line read pairs by this function."""
    _replace(command_line, "read_snli", function)


def mapping_first(function: Callable[[], None]) -> None:
    """Let this be called whenever a dataset on disk has pairs encoded."""
    encode = mapped.encode_pairs

    def call_and_encode(*arguments, **more):
        function()
        return encode(*arguments, **more)

    _replace(mapped, "encode_pairs", call_and_encode)


def every_recipe_is_that_of(model: str) -> None:
    """Let the command line train every model by the recipe of this one."""
    _replace(command_line, "recipe", lambda _, recipe=command_line.recipe: recipe(model))


def heat_maps_are_kept() -> list[tuple]:
    """Return a list of what is given to the pictures of attention that are drawn."""
    seen, draw = [], widgets.heat_map

    def keep_and_draw(*given):
        seen.append(given)
        return draw(*given)

    _replace(widgets, "heat_map", keep_and_draw)
    return seen
