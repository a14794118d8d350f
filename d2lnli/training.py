"""Fine-tuning: the training loop, and the ways into it: `finetune`, `train_ch13`."""

import contextlib
import dataclasses
import io
import math
import os
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .bert import BERTClassifier, unwrapped
from .checkpoints import load_classifier, load_pretrained_model
from .corpora import open_split, read_snli
from .dataset import SNLIBERTDataset, shared_loader
from .devices import (
    autocast,
    choose_precision,
    first_device,
    forked_random_states,
    kind,
    known_devices,
    reproducible,
    tf32_as_asked,
    try_all_gpus,
)
from .evaluation import accuracy_on, evaluate, pairs_at_once, to_device
from .fast.graphs import Measured, Step, captured
from .fast.minibatches import loader_on
from .fast.network import fast
from .fast.optimizer import Updater, adam
from .fast.parts import micro_batches, most_tokens_for
from .history import History, Record
from .labels import LABELS
from .recipes import Recipe, recipe, shows_settings
from .runs.best_epoch import BestEpoch
from .runs.checks import check_learns, checked_sets, num_batches
from .runs.failures import memory_advice
from .runs.folder import RunFolder, open_run
from .runs.hook import Hook
from .runs.hooks import Checkpoints, Recorder
from .runs.identity import made_of, run_settings
from .runs.launched import LaunchedRun, launch_run
from .runs.ranks import Ranks, check_joined, current_ranks, own_device
from .runs.state import RunState
from .runs.stop_button import StopButton
from .show.charts import in_notebook
from .store.classifiers import (
    classifier_dirs,
    describe,
    find_made_of,
    place_for,
    read_history,
    save_classifier,
    why_not,
)
from .store.files import exclusive_lock
from .store.hub import find_corpus, present_name
from .vocab import Vocab

Inputs = Tensor | list[Tensor]
Pairs = SNLIBERTDataset


def train(training: "Training", num_epochs: int, hooks: Sequence[Hook] = ()) -> None:
    """Train until the end of epoch `num_epochs`, or until a hook ends the training."""
    state, updater = training.state, training.updater
    while state.epoch < num_epochs and not any(hook.is_over(state) for hook in hooks):
        for X, y, num_pairs in training.rest_of_epoch():
            with memory_advice(state.device, num_pairs, training.memory_hint(X)):
                updater.prepare(training.learning_rate())
                for losses, y_hat, labels in training.step(X, y, num_pairs):
                    state.meter.add(losses, y_hat, labels)
            state.meter.end_minibatch(num_pairs)
            state.batches_done += 1
            for hook in hooks:
                hook.after_step(state)
        updater.end_epoch()
        record = training.measure()
        state.epoch, state.batches_done = state.epoch + 1, 0
        for hook in hooks:
            hook.after_epoch(state, record)


def train_step(training: "Training", X: Inputs, y: Tensor, num_pairs: int | Tensor) -> Measured:
    """Update the weights with a minibatch; return losses, outputs and labels of its parts."""
    measured = []
    for part_X, part_y in training.parts(X, y):
        losses, y_hat = training.losses(part_X, part_y)
        training.updater.backward(training.objective(losses, num_pairs))
        measured.append((losses.detach(), y_hat.detach(), part_y))
    training.updater.step()
    return measured


class Training:
    """What the loop trains and how: as in the book in fp32, on the sum of the losses.

    `net` may be wrapped, such as by torch.compile. `loss` gives one value for each example, and
    `score` measures the accuracy after an epoch.
    """

    precision = "fp32"

    def __init__(
        self,
        net: nn.Module,
        batches: DataLoader,
        loss: Callable[[Tensor, Tensor], Tensor],
        score: Callable[[], float],
        state: RunState,
        updater: Updater,
    ):
        self.net, self.batches, self.loss, self.score = net, batches, loss, score
        self.state, self.updater = state, updater

    def rest_of_epoch(self) -> Iterable[tuple[Inputs, Tensor, int]]:
        """Return the remaining minibatches of this epoch, each with the number of its pairs."""
        self.state.begin_epoch()
        return ((X, y, len(y)) for X, y in self.batches)

    def learning_rate(self) -> float | None:
        """Return the learning rate of the next step; None keeps the optimizer's own."""
        return None

    def step(self, X: Inputs, y: Tensor, num_pairs: int | Tensor) -> Measured:
        """Take the `train_step` of a minibatch."""
        return train_step(self, X, y, num_pairs)

    def sped_up(self) -> contextlib.AbstractContextManager:
        """Compute faster inside the `with` block, with the same numbers."""
        return fast(self.net)

    def parts(self, X: Inputs, y: Tensor) -> Iterable[tuple[Inputs, Tensor]]:
        """Return the parts of a minibatch. Their gradients add up."""
        return [(X, y)]

    def losses(self, X: Inputs, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the outputs of each example."""
        X, y = to_device(X, self.state.device), to_device(y, self.state.device)
        with autocast(self.precision, self.state.device):
            y_hat = self.net(X)
        losses = self.loss(y_hat.float(), y)
        if losses.dim() == 0:
            raise ValueError("the loss is a single number: give it reduction='none'")
        return losses, y_hat

    def objective(self, losses: Tensor, num_pairs: int | Tensor) -> Tensor:
        """Return the number that training minimizes."""
        return losses.sum()

    def measure(self) -> Record:
        """Return the record of a whole epoch, with the accuracy that `score` measures."""
        record = self.state.record()
        self.state.check_weights()
        return dataclasses.replace(record, dev_acc=self.score())

    def memory_hint(self, X: Inputs) -> str:
        """Return what else to say when memory runs out."""
        return self.state.checkpoint_hint


class FineTuning(Training):
    """A training by a recipe, on the mean of the losses. Each of several ranks has its share."""

    def __init__(
        self,
        net: nn.Module,
        batches: DataLoader,
        score: Callable[[], float],
        state: RunState,
        updater: Updater,
        recipe: Recipe,
    ):
        self.recipe, self.ranks, self.precision = recipe, state.ranks, recipe.precision
        own_forward = type(state.net) is not BERTClassifier  # it may leave parameters unused
        net = self.ranks.data_parallel(net, updater.own_parameters, own_forward)
        super().__init__(net, batches, nn.CrossEntropyLoss(reduction="none"), score, state, updater)
        self.fast_step: Step | None = None  # only inside `sped_up`, because it refers to this

    def rest_of_epoch(self) -> Iterable[tuple[Inputs, Tensor, int]]:
        """Return the remaining minibatches of this epoch, in the epoch's own random order."""
        state, order = self.state, self.batches.batch_sampler
        order.begin(state.epoch, state.batches_done)  # type: ignore[union-attr]  # LengthBuckets
        torch.manual_seed(1000 * self.recipe.seed + state.epoch + 1_000_003 * self.ranks.rank)
        batches = iter(self.batches)
        state.begin_epoch()
        return batches

    def learning_rate(self) -> float:
        """Return the learning rate of the next step, according to the recipe."""
        num_steps = self.recipe.num_epochs * self.state.num_batches
        return self.recipe.lr_at(self.state.steps_done, num_steps)

    def step(self, X: Inputs, y: Tensor, num_pairs: int | Tensor) -> Measured:
        """Take the `train_step` of a minibatch, inside `sped_up` perhaps a captured one."""
        return (self.fast_step or super().step)(X, y, num_pairs)

    @contextlib.contextmanager
    def sped_up(self) -> Iterator[None]:
        """Compute faster inside the `with` block, with the same numbers."""
        plain, clear = super().step, self.updater.prepare
        with fast(self.net), captured(plain, clear, self.net, self.precision) as self.fast_step:
            try:
                yield
            finally:
                self.fast_step = None  # its graphs hold the GPU's memory

    def parts(self, X: Inputs, y: Tensor) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield parts of at most `most_tokens`; after the last one the ranks exchange gradients."""
        *parts, last = micro_batches(X, y, self.recipe.most_tokens)  # type: ignore[arg-type]
        parallel: Any = self.net
        with parallel.no_sync() if self.ranks.size > 1 else contextlib.nullcontext():
            yield from parts
        yield last

    def objective(self, losses: Tensor, num_pairs: int | Tensor) -> Tensor:
        """Return a part's share of the minibatch's mean loss."""
        return losses.sum() * (self.ranks.size / num_pairs)  # ranks take the mean of gradients

    def memory_hint(self, X: Inputs) -> str:
        """Return how many tokens at once need less memory, and which checkpoint there is."""
        at_once = min(X[0].numel(), self.recipe.most_tokens or math.inf)
        smaller = f", or most_tokens={at_once // 2} or less, the same but for dropout"
        return smaller + super().memory_hint(X)


def run(training: Training, num_epochs: int, hooks: Sequence[Hook]) -> None:
    """Train with hooks, and leave the network ready for use, however the training ends."""
    with contextlib.ExitStack() as stack:
        for context in (*hooks, training.sped_up()):
            stack.enter_context(context)
        try:
            train(training, num_epochs, hooks)
        except KeyboardInterrupt:
            for hook in reversed(hooks):
                hook.after_interrupt(training.state)
        except MemoryError as error:
            traceback.clear_frames(error.__traceback__)  # they hold what the failed pass computed
            raise
        finally:
            unwrapped(training.net).eval()
            training.updater.prepare()  # gradients would take memory, after a failed pass too


def train_ch13(
    net: nn.Module,
    train_iter: DataLoader,
    test_iter: DataLoader,
    loss: Callable[[Tensor, Tensor], Tensor],
    trainer: torch.optim.Optimizer,
    num_epochs: int,
    devices: list[torch.device] | None = None,
) -> None:
    """Train `net` in place, in fp32, and print the chapter's two closing lines.

    Minibatches are `(inputs, labels)`, with inputs a tensor or a list of tensors. `loss` gives one
    value for each example. As in the book, their sum is minimized.
    """
    num_epochs, ranks = Recipe(num_epochs=num_epochs).num_epochs, current_ranks()
    if ranks.size > 1:
        raise ValueError("train_ch13 trains in one process: use finetune under torchrun")
    check_learns(net)
    device = first_device(devices)
    with memory_advice(device):
        net.to(device)
    updater, button = Updater(net, trainer), StopButton(ranks)
    state = RunState(unwrapped(net), updater, num_batches(train_iter), ranks)

    def score() -> float:
        with button.heard_at_once():
            return accuracy_on(net, test_iter)

    history = History(device=str([device]))
    plain: Any = state.net
    plain.history = history
    training = Training(net, train_iter, loss, score, state, updater)
    run(training, num_epochs, [Recorder.of(state, num_epochs, history, "test"), button])
    print(history.closing_lines("test"))


@overload
def finetune(
    net: nn.Module, train_set: Pairs, dev_set: Pairs | None, *, launch: Literal[True], **more: Any
) -> LaunchedRun: ...
@overload
def finetune(
    net: nn.Module, train_set: Pairs, dev_set: Pairs | None, *, launch: bool = ..., **more: Any
) -> History: ...
@shows_settings
def finetune(
    net: nn.Module,
    train_set: Pairs,
    dev_set: Pairs | None,
    *,
    devices: list[torch.device] | None = None,
    run_dir: str | Path | None = None,
    launch: bool = False,
    plot: bool = True,
    **settings: Any,
) -> History | LaunchedRun:
    """Fine-tune `net` in place with Adam on the mean cross-entropy; return the run's history.

    `Recipe` explains the settings, such as `lr` and `num_epochs`. If there is a `dev_set`, its
    accuracy is measured after each epoch. Frozen parameters stay as they are. An interrupt ends
    training cleanly, after the current step.

    With `run_dir`, `history.csv` and a checkpoint are written there. The next call with the same
    data and settings goes on from the checkpoint, to the same numbers.

    This process trains on one of `devices` (None: the first GPU, or the CPU). torchrun starts a
    process for each of several devices, and always with `launch`. Then a `LaunchedRun` is returned
    at once. Its `history` grows, `wait()` returns the whole one, and whatever reads `net` waits for
    the end. In a script that torchrun starts, all processes call this `with process_group():`.

    In a notebook, a live plot shows the run. Without `plot`, only the progress bar does.

    ValueError names bad settings, the folder of another run, and a loss or weight that is not
    finite. MemoryError names smaller sizes to try.
    """
    recipe, ranks = Recipe.of(**settings), current_ranks()
    train_set, dev_set = checked_sets(net, train_set, dev_set, recipe)
    check_joined(ranks)
    if not ranks.of_torchrun and (launch or len(devices or ()) > 1):
        started = launch_run(
            unwrapped(net), train_set, dev_set, dataclasses.asdict(recipe),
            known_devices(devices or try_all_gpus()), run_dir, plot,
        )  # fmt: skip
        return started if launch else started.wait()
    if ranks.of_torchrun:
        device = own_device(devices)
    else:
        device = first_device(devices or try_all_gpus()[:1])
    with memory_advice(device):
        net.to(device)
    forked = forked_random_states(device)
    with open_run(run_dir, ranks) as folder, forked, reproducible(device):
        return _finetune(net, train_set, dev_set, recipe, device, ranks, folder, plot)


def _finetune(
    net: nn.Module,
    train_set: Pairs,
    dev_set: Pairs | None,
    recipe: Recipe,
    device: torch.device,
    ranks: Ranks,
    folder: RunFolder | None,
    plot: bool,
) -> History:
    """Fine-tune on one device, and go on from the folder's checkpoint if it holds one."""
    recipe = _settled(recipe, device, ranks, folder)
    plain, num_epochs = unwrapped(net), recipe.num_epochs
    best, button = BestEpoch(plain, recipe.keep, recipe.patience), StopButton(ranks, folder)
    shares = train_set, recipe.batch_size, recipe.seed, ranks.rank, ranks.size
    with memory_advice(device):
        batches = shared_loader(*shares) if kind(device) == "cpu" else loader_on(device, *shares)

    def score() -> float:
        if dev_set is None:
            return math.nan
        with button.heard_at_once():  # a smaller batch_size helps here too
            at_once = min(pairs_at_once(device, dev_set), recipe.batch_size)
            return evaluate(net, dev_set, at_once, recipe.precision).accuracy

    history = History(device=ranks.names(device), precision=recipe.precision)
    history.made_of = made_of(net, train_set, recipe)
    settings = run_settings(net, train_set, dev_set, recipe, ranks)
    from_all = ranks.gather if ranks.size > 1 else None
    optimizer = adam(net, recipe.lr, recipe.clip, recipe.precision, from_all)
    with tf32_as_asked(recipe.precision, device), optimizer as updater:
        state = RunState(plain, updater, len(batches), ranks, {"best": best})
        training = FineTuning(net, batches, score, state, updater, recipe)
        if folder:
            folder.go_on(settings, state, history)
        checkpoints = [Checkpoints(folder, settings, history, button)] if folder else []
        split = "dev" if dev_set else None
        recorder = Recorder.of(state, num_epochs, history, split, folder, plot)
        run(training, num_epochs, [recorder, best, *checkpoints, button])
    best.restore(history)
    plain.history = history
    return history


def _settled(recipe: Recipe, device: torch.device, ranks: Ranks, run: RunFolder | None) -> Recipe:
    """Return a recipe with the precision, and the tokens at once, that suit a device."""
    precision = recipe.precision
    if precision == "auto" and run:  # a run that goes on keeps its own: a new timing may differ
        precision = run.settings.get("precision", precision)
    precision = ranks.from_rank_0(choose_precision(precision, device))
    most_tokens = recipe.most_tokens or most_tokens_for(device, precision, ranks.size)
    return dataclasses.replace(recipe, precision=precision, most_tokens=most_tokens)


def load_or_finetune(
    model: str | os.PathLike = "bert.tiny",
    corpus: str | os.PathLike = "Scenes",
    num_pairs: int | None = None,
    max_len: int = 128,
) -> tuple[BERTClassifier, Vocab]:
    """Load the classifier that was fine-tuned from `model` on `corpus`, or fine-tune it first.

    It is kept in the data folder, as by the command line and by notebook 03. It is loaded only if
    it was trained to the end in the same way: from this encoder, on the first `num_pairs`,
    truncated to `max_len`, by the model's recipe. A line says which classifier it is. A notebook
    also shows the curves of its run. If several processes want it, one trains and the others wait.
    """
    data_dir = find_corpus(corpus)
    with contextlib.redirect_stdout(io.StringIO()):
        bert, vocab = load_pretrained_model(model)
        train_set = SNLIBERTDataset(read_snli(data_dir, "train", num_pairs), max_len, vocab)
        names = train_set.label_names or LABELS
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # of the CPU alone: fork_rng restores no GPU's here
        net = BERTClassifier(bert, len(names), names)
    settings = {**recipe(model), "seed": 0, "keep": "last", "patience": None}
    wanted = made_of(net, train_set, Recipe(**settings))
    folders, ranks = classifier_dirs(model, corpus), current_ranks()

    def find() -> str:  # rank 0 looks, so that all ranks load or all train
        return ranks.from_rank_0(str(find_made_of(folders, wanted) or ""))

    if found := find():
        return _load(found)
    with contextlib.ExitStack() as stack:
        if ranks.rank == 0:
            with contextlib.suppress(OSError):  # the folder may be read-only
                stack.enter_context(exclusive_lock(folders[0]))
        if found := find():  # another process has made it meanwhile
            return _load(found)
        if why := why_not(folders[0], wanted):
            print(f"{folders[0]} holds another classifier ({why}): fine-tuning a new one")
        with contextlib.redirect_stdout(io.StringIO()):
            dev_pairs = open_split(data_dir, "dev", classes=names).read()
            dev_set = SNLIBERTDataset(dev_pairs, max_len, vocab)
            history = finetune(net, train_set, dev_set, **settings)
        history.made_of.update(model=str(model), corpus=present_name(corpus))
        if ranks.rank == 0:
            _keep(place_for(folders[0], wanted), net, vocab, history)
    return net, vocab


def _keep(folder: Path, net: BERTClassifier, vocab: Vocab, history: History) -> None:
    try:
        print(describe(save_classifier(folder, net, vocab, history)))
    except OSError as error:  # the classifier can be used without being saved
        warnings.warn(str(error), stacklevel=3)


def _load(name: str) -> tuple[BERTClassifier, Vocab]:
    folder = Path(name)
    if not os.environ.get("SERVER_SOFTWARE", "").startswith("voila"):  # a page shows only widgets
        print(describe(folder))
        if in_notebook() and (history := read_history(folder)):
            from IPython.display import display

            display(history.plot())
    return load_classifier(folder, "auto")
