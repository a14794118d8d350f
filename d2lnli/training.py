"""Fine-tuning: recipes, the training loop, and the ways into it: `finetune`, `train_ch13`."""

import contextlib
import dataclasses
import io
import math
import os
import warnings
import zlib
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .bert import BERTClassifier, unwrapped
from .checkpoints import load_pretrained_model
from .corpora import read_snli
from .dataset import SNLIBERTDataset, as_pairs, shared_loader
from .devices import (
    autocast,
    choose_precision,
    first_device,
    known_devices,
    memory_advice,
    reproducible,
    try_all_gpus,
)
from .evaluation import accuracy_on, check_fits, evaluate, to_device
from .fast.network import fast
from .fast.optimizer import RowAdam, adam, catch_up_saved, clip_gradients
from .history import History, Record, differences
from .runs.best_epoch import KEEP, BestEpoch
from .runs.folder import RunFolder, open_run
from .runs.launched import frozen_parts, launch_run
from .runs.meter import Meter
from .runs.ranks import Agreement, Ranks, check_joined, current_ranks, own_device
from .runs.stop_button import StopButton
from .show.charts import in_notebook
from .show.live import LivePlot, Progress
from .store.classifiers import (
    classifier_dirs,
    describe,
    find_made_of,
    load_classifier,
    place_for,
    read_history,
    save_classifier,
    why_not,
)
from .store.files import exclusive_lock
from .store.hub import find_folder
from .vocab import Vocab

BOOK_RECIPE = dict(
    lr=1e-4, num_epochs=5, batch_size=512, schedule="constant", warmup=0.0, clip=None
)
"""The chapter's, for `bert.small`."""

TINY_RECIPE = dict(lr=1e-3, num_epochs=4, batch_size=64, schedule="linear", warmup=0.1, clip=None)
"""Found on the dev split of `SNLI-sample`."""

BASE_RECIPE = dict(lr=3e-5, num_epochs=3, batch_size=32, schedule="linear", warmup=0.1, clip=1.0)
"""What BERT's authors did with twelve blocks: Devlin et al. (2019), appendix A.3."""

MINILM_RECIPE = dict(lr=1e-4, num_epochs=4, batch_size=32, schedule="linear", warmup=0.06, clip=1.0)
"""For few real pairs, such as some thousand of SNLI."""

_RECIPES = {
    "bert.tiny": TINY_RECIPE,
    "bert.base": BASE_RECIPE,
    "bert.base.mxnet": BASE_RECIPE,
    "minilm": MINILM_RECIPE,
}


def recipe(model: str | os.PathLike) -> dict:
    """Return settings for `finetune`: those that suit a model by its name, else the book's."""
    default = BASE_RECIPE if str(model).startswith("hf:") else BOOK_RECIPE
    return dict(_RECIPES.get(str(model), default))


SCHEDULES = ("constant", "linear")
MOST_TOKENS = 4096
"""How many tokens go through a network at once on a CPU in fp32: what its caches hold."""

_LOOK_EVERY = 16  # minibatches: whether the loss is still a number
_STATEFUL = ("net", "trainer", "scaler", "best")


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
    value for each example; as in the book, their sum is what is minimized.
    """
    if not _is_whole(num_epochs, 1):
        raise ValueError(f"num_epochs={num_epochs!r}: it must be a whole number, at least 1")
    ranks = current_ranks()
    if ranks.size > 1:
        raise ValueError("train_ch13 trains in one process: use finetune under torchrun")
    _check_learns(net)
    device = first_device(devices)
    with memory_advice(device):
        net.to(device)
    history = History(device=str([device]))
    training = Training(net, train_iter, loss, trainer, ranks=ranks)
    training.run(num_epochs, history, score=lambda: accuracy_on(net, test_iter), split="test")
    print(history.closing_lines("test"))


def finetune(
    net: nn.Module,
    train_set: SNLIBERTDataset,
    dev_set: SNLIBERTDataset | None,
    *,
    lr: float = 1e-4,
    num_epochs: int = 5,
    batch_size: int = 512,
    schedule: str = "constant",
    warmup: float = 0.0,
    clip: float | None = None,
    devices: list[torch.device] | None = None,
    precision: str = "auto",
    seed: int = 0,
    run_dir: str | Path | None = None,
    most_tokens: int | None = None,
    launch: bool = False,
    keep: str = "last",
    patience: int | None = None,
) -> History:
    """Fine-tune `net` in place with Adam on the mean cross-entropy; return the run's history.

    `schedule` is 'constant' or 'linear' (decay to zero), `warmup` the fraction of steps in which
    the learning rate first rises, `clip` the largest gradient norm, `precision` 'auto', 'fp32',
    'bf16' or 'fp16'. If there is a `dev_set`, its accuracy is measured after each epoch. With
    `run_dir`, `history.csv` and a checkpoint are written there, after each epoch, every few minutes
    and at an interrupt, and the next call with the same data and settings goes on from it, to the
    same numbers. An interrupt ends training cleanly, after the step that it came in.

    Parameters that are frozen, as by `net.encoder.requires_grad_(False)`, stay as they are. Raises
    ValueError if all are, if the loss is a number no more or the folder holds another run, and
    MemoryError, which names sizes to try, if memory runs out.

    `keep` is 'last' or 'best': the net ends with the weights of the last epoch, or of the one with
    the highest dev accuracy. Training ends early once `patience` epochs in a row have brought no
    higher one. With 'best' the history's `kept_epoch` tells which it was.

    `most_tokens` go through the network at once: a minibatch of more is cut into parts, whose
    gradients are accumulated. Fewer take less memory. None: on a GPU all, on a CPU what it caches.

    One of `devices` is driven by this process (None: the first GPU, or the CPU). For each of
    several, or if you say `launch`, torchrun starts a process. With `launch` a `LaunchedRun` is
    returned at once: its `history` grows, `wait()` returns the whole one, and whatever reads `net`
    waits for the run's end. With a `run_dir` even another kernel can follow the run. In a script
    that torchrun starts, all processes call this together, `with process_group():`, and each has
    its share of every minibatch on its own device.
    """
    _check_settings(lr, num_epochs, batch_size, schedule, warmup, clip, most_tokens, seed)
    _check_early_stopping(keep, patience, dev_set)
    _check_learns(net)
    train_set = as_pairs(train_set)
    dev_set = None if dev_set is None else as_pairs(dev_set)
    for dataset in (train_set, dev_set):
        if dataset is not None:
            check_fits(net, dataset)
    lr, num_epochs, batch_size, warmup, clip, most_tokens, seed, patience = map(
        _plain, (lr, num_epochs, batch_size, warmup, clip, most_tokens, seed, patience)
    )
    settings = {
        "lr": lr,
        "num_epochs": num_epochs,
        "batch_size": batch_size,
        "schedule": schedule,
        "warmup": warmup,
        "clip": clip,
        "precision": precision,
        "seed": seed,
        "keep": keep,
        "patience": patience,
    }
    ranks = current_ranks()
    check_joined(ranks)
    if not ranks.of_torchrun and (launch or len(devices or ()) > 1):
        devices = known_devices(devices or try_all_gpus())
        if precision != "auto":
            choose_precision(precision, devices[0])  # to refuse an unknown one here
        settings["most_tokens"] = most_tokens
        launched = launch_run(unwrapped(net), train_set, dev_set, settings, devices, run_dir)
        return launched if launch else launched.wait()  # type: ignore[return-value]
    device = own_device() if ranks.of_torchrun else first_device(devices or try_all_gpus()[:1])
    with memory_advice(device):
        net.to(device)
    on_gpu = device.type == "cuda"
    batches = shared_loader(train_set, batch_size, seed, on_gpu, ranks.rank, ranks.size)
    num_steps = num_epochs * len(batches)
    cuda = [device] if on_gpu else []
    with (
        open_run(run_dir, ranks) as run,
        torch.random.fork_rng(cuda),
        reproducible(device),
        adam(net, lr, ranks) as trainer,
    ):
        if precision == "auto" and run:
            precision = run.settings.get("precision", precision)  # a timing may differ, a run not
        precision = ranks.from_rank_0(choose_precision(precision, device))
        if most_tokens is None and device.type == "cpu":
            most_tokens = 2 * MOST_TOKENS
            if precision == "fp32":  # on a core of several, fewer are as fast and take less memory
                most_tokens = MOST_TOKENS if ranks.size == 1 else MOST_TOKENS // 4
        history = History(device=ranks.names(device), precision=precision)
        history.made_of = made_of(net, train_set, **settings)
        training = Training(
            net,
            batches,
            nn.CrossEntropyLoss(reduction="none"),
            trainer,
            mean=True,
            most_tokens=most_tokens,
            lr_at=lambda step: lr * lr_factor(step, num_steps, schedule, warmup),
            clip=clip,
            precision=precision,
            seed=seed,
            keep=keep,
            patience=patience,
            ranks=ranks,
        )
        settings |= {
            "precision": precision,
            "train_set": _describe(train_set),
            "dev_set": _describe(dev_set),
            "frozen": history.made_of["frozen"],
            **{
                f"net's {name}": value
                for name, value in unwrapped(net).encoder.config.of_encoder().items()
            },
        }
        if differing := differences(ranks.from_rank_0(settings), settings):
            raise ValueError(
                f"process 0 of {ranks.size} has {differing}, as process {ranks.rank} has: give all "
                "of them the same data and settings"
            )
        if run:
            run.go_on(settings, training, history)
        at_once = min(batch_size, 128)  # so that a smaller one helps if memory runs out here
        score = None if dev_set is None else lambda: evaluate(net, dev_set, at_once).accuracy
        training.run(num_epochs, history, score, run=run, settings=settings)
    training.best.restore(history)
    return history


def made_of(net: nn.Module, train_set: SNLIBERTDataset, **settings: object) -> dict:
    """Return what a training starts from and how it is done, for a person and to compare.

    The device and the precision are left out: where they differ, numbers differ by rounding only.
    """
    weights = 0
    for tensor in unwrapped(net).encoder.state_dict().values():
        weights = zlib.crc32(tensor.cpu().flatten().view(torch.uint8).numpy(), weights)
    return {
        "pairs": len(train_set),
        "max_len": train_set.max_len,
        "truncation": train_set.truncation,
        **{name: value for name, value in settings.items() if name != "precision"},
        "frozen": ", ".join(frozen_parts(unwrapped(net))) or None,
        "checksum of the pairs": f"{train_set.fingerprint():08x}",
        "checksum of the pretrained encoder": f"{weights:08x}",
    }


def lr_factor(step: int, num_steps: int, schedule: str, warmup: float) -> float:
    """Return the fraction of the learning rate at a step: a rise over `warmup`, then `schedule`."""
    num_warmup = round(warmup * num_steps)
    if step < num_warmup:
        return (step + 1) / num_warmup
    return 1.0 if schedule == "constant" else (num_steps - step) / (num_steps - num_warmup)


def load_or_finetune(
    model: str | os.PathLike = "bert.tiny",
    corpus: str | os.PathLike = "SNLI-sample",
    num_pairs: int | None = None,
    max_len: int = 128,
) -> tuple[BERTClassifier, Vocab]:
    """Load the classifier that was fine-tuned from `model` on `corpus`, or fine-tune it first.

    It lives in the data folder, where the command line and notebook 03 keep theirs, and is loaded
    only if it is what would be made here: from this encoder, on the first `num_pairs` as they are
    now, cut to `max_len`, by the model's recipe, to the end. A line says which one it is and when
    it was made; a notebook shows the curves of its run. Of several processes that want the same,
    one makes it while the others wait.
    """
    data_dir = find_folder(corpus)
    with contextlib.redirect_stdout(io.StringIO()):
        bert, vocab = load_pretrained_model(model)
        train_set = SNLIBERTDataset(read_snli(data_dir, "train", num_pairs), max_len, vocab)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # the CPU's alone: that of GPUs is not put back
        net = BERTClassifier(bert)
    settings = {**recipe(model), "seed": 0, "keep": "last", "patience": None}
    wanted = made_of(net, train_set, **settings)
    folders, ranks = classifier_dirs(model, corpus), current_ranks()

    def find() -> str:  # all ranks load, or all train
        return ranks.from_rank_0(str(find_made_of(folders, wanted) or ""))

    if found := find():
        return _load(Path(found))
    with contextlib.ExitStack() as stack:
        if ranks.rank == 0:
            with contextlib.suppress(OSError):  # the place cannot be written to at all
                stack.enter_context(exclusive_lock(folders[0]))
        if found := find():  # made meanwhile by another process
            return _load(Path(found))
        if why := why_not(folders[0], wanted):
            print(f"{folders[0]} holds another classifier ({why}): fine-tuning a new one")
        with contextlib.redirect_stdout(io.StringIO()):
            dev_set = SNLIBERTDataset(read_snli(data_dir, "dev"), max_len, vocab)
            history = finetune(net, train_set, dev_set, **settings)
        history.made_of.update(model=str(model), corpus=str(corpus))
        if ranks.rank == 0:
            try:
                folder = save_classifier(place_for(folders[0], wanted), net, vocab, history)
                print(describe(folder))
            except OSError as error:  # it can be used all the same
                warnings.warn(str(error), stacklevel=2)
    return net, vocab


def _load(folder: Path) -> tuple[BERTClassifier, Vocab]:
    if not os.environ.get("SERVER_SOFTWARE", "").startswith("voila"):  # a page shows the Predictor
        print(describe(folder))
        if in_notebook() and (history := read_history(folder)):
            from IPython.display import display

            display(history.plot())
    return load_classifier(folder)


class Training:
    """A training that can be stopped, written down and gone on with after any minibatch.

    `loss` gives one value for each example, whose sum is minimized, or the mean. `lr_at` gives the
    learning rate of a step, `most_tokens` how many go through the network at once, `keep` and
    `patience` which epoch is kept and when training ends without a better one. Under torchrun all
    ranks make one, with their shares of the same minibatches, and do the same at the same time.
    """

    def __init__(
        self,
        net: nn.Module,
        batches: DataLoader,
        loss: Callable[[Tensor, Tensor], Tensor],
        trainer: torch.optim.Optimizer,
        mean: bool = False,
        most_tokens: int | None = None,
        lr_at: Callable[[int], float] | None = None,
        clip: float | None = None,
        precision: str = "fp32",
        seed: int | None = None,
        keep: str = "last",
        patience: int | None = None,
        ranks: Ranks | None = None,
    ):
        self.ranks = ranks or Ranks()
        self.net, self.batches, self.loss, self.trainer = unwrapped(net), batches, loss, trainer
        self.mean, self.most_tokens, self.lr_at, self.clip = mean, most_tokens, lr_at, clip
        self.precision, self.seed = precision, seed
        self.device = next(net.parameters()).device
        own = [trainer.embedding.weight] if isinstance(trainer, RowAdam) else []
        some_unused = type(self.net) is not BERTClassifier
        # the net, or one around it
        self.parallel: Any = self.ranks.data_parallel(net, own, some_unused)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self.epoch, self.done, self.meter = 0, 0, Meter(self.device, self.ranks)
        self.best = BestEpoch(self.net, keep, patience)
        self.random: tuple | None = None  # to go on with, once the minibatches done are skipped
        self.kept = ""  # what is said of the run folder when training fails

    def state_dict(self) -> dict:
        """Return all that the rest of the training depends on, of all ranks."""
        cuda = self.device.type == "cuda"
        cuda_random = torch.cuda.get_rng_state(self.device) if cuda else torch.empty(0).byte()
        random = self.random or (torch.get_rng_state(), cuda_random)
        return {
            **{name: getattr(self, name).state_dict() for name in _STATEFUL},
            "epoch": self.epoch,
            "done": self.done,
            "meter": self.meter.state(),
            "random": [self.ranks.gather(state[None]) for state in random],
        }

    def load_state_dict(self, state: dict) -> None:
        """Go back to where `state_dict` was taken; ValueError if it was not taken from the like."""
        random, cuda_random = state["random"]
        alike = all(each[0].shape == torch.get_rng_state().shape for each in random)
        if not alike or any(each.dtype != torch.uint8 for each in (*random, *cuda_random)):
            raise ValueError("its random state is of another kind")
        if not (state["epoch"] >= 0 and 0 <= state["done"] <= len(self.batches)):
            raise ValueError(f"it has {state['done']} of {len(self.batches)} minibatches")
        if len(state["meter"][0]) != 2:
            raise ValueError("its means are of another kind")
        if not isinstance(self.trainer, RowAdam):
            names = [name for name, _ in self.net.named_parameters()]
            catch_up_saved(state["net"], state["trainer"], names)
        for name in _STATEFUL:
            if name != "best" or name in state:  # earlier versions knew of no best epoch
                getattr(self, name).load_state_dict(state[name])
        self.epoch, self.done = state["epoch"], state["done"]
        self.meter = Meter(self.device, self.ranks, *state["meter"])
        if len(random) == self.ranks.size:  # else the ranks' dropout begins anew
            self.random = random[self.ranks.rank][0], cuda_random[self.ranks.rank][0]

    def run(
        self,
        num_epochs: int,
        history: History,
        score: Callable[[], float] | None,
        split: str = "dev",
        run: RunFolder | None = None,
        settings: dict | None = None,
    ) -> None:
        """Train from where it stands to `num_epochs`, or to an interrupt, and fill `history`.

        `score` measures the accuracy on the named split after each epoch. What is to be kept goes
        to `run`, with the `settings`.
        """

        def save() -> None:
            self.check_weights()
            if run and run.save(settings or {}, self.state_dict(), history):
                self.kept = f". {run.path} is from minibatch {self.done} of epoch {self.epoch + 1}"

        if not _length(self.batches):
            raise ValueError("there are no minibatches: take a smaller batch_size")
        num_steps = num_epochs * len(self.batches) - self.num_steps
        plot = LivePlot(num_epochs, split if score else None)
        keep, pass_on = (run.save_history, run.pass_on) if run else (None, None)
        agreement, stop = Agreement(self.ranks), False
        shared, shown = self.ranks.of_torchrun, self.ranks.rank == 0
        with (
            fast(self.net),
            Progress(plot, num_steps, history, keep, pass_on, shown) as progress,
            StopButton(shared) as button,
        ):
            try:
                while self.epoch < num_epochs and not self.best.is_long_ago(self.epoch):
                    for _ in self.rest_of_epoch(progress, button):
                        if run and run.is_to_stop():
                            button.pressed = True
                        stop, due = agreement.on(button.pressed, run is not None and run.is_due())
                        if stop:
                            raise KeyboardInterrupt
                        if due:
                            self.check()
                            with button.held():
                                save()
                    record = self.check()
                    self.check_weights()
                    dev_acc = score() if score else math.nan
                    with button.held():
                        progress.report(dataclasses.replace(record, dev_acc=dev_acc))
                        self.epoch, self.done = self.epoch + 1, 0
                        self.best.note(self.epoch, dev_acc)
                        save()
            except KeyboardInterrupt:
                if shared and not stop:  # pressed twice: the others know nothing of it
                    raise
                history.interrupted = True
                if not button.broken:
                    save()
            finally:
                self.net.eval()
                self.trainer.zero_grad()  # gradients would take memory, after a failed pass too

    @property
    def num_steps(self) -> int:
        """How many steps are done."""
        return self.epoch * len(self.batches) + self.done

    @property
    def epochs_done(self) -> float:
        """How many epochs are done, with the fraction of this one."""
        return self.epoch + self.done / len(self.batches)

    def rest_of_epoch(self, progress: Progress, button: StopButton) -> Iterator[None]:
        """Train on the minibatches of this epoch that are left, and yield after each."""
        num_batches = len(self.batches)
        for X, y, *told in self.minibatches_left():
            num_pairs = told[0] if told else len(y)
            with button.held():
                with memory_advice(self.device, num_pairs, self.smaller_parts(X) + self.kept):
                    losses, y_hat = self.step(self.num_steps, X, y, num_pairs)
                self.meter.add(losses, y_hat, y, num_pairs)
                self.done += 1
                progress.history.num_classes = y_hat.shape[1]
                progress.advance(lambda: self.meter.provisional_record(self.epochs_done))
                if self.done == num_batches and isinstance(self.trainer, RowAdam):
                    self.trainer.catch_up()
                twentieths = [20 * done // num_batches for done in (self.done - 1, self.done)]
                if self.done < num_batches and twentieths[0] < twentieths[1]:
                    progress.report(self.check())
                    self.meter.begin_twentieth()
                elif self.done % _LOOK_EVERY == 0:
                    self.check()
            yield

    def minibatches_left(self) -> Iterator[tuple]:
        """Return the minibatches of this epoch that are left, in the epoch's own random order."""
        if self.seed is not None:
            order: Any = self.batches.batch_sampler
            order.epoch = self.epoch
            torch.manual_seed(1000 * self.seed + self.epoch + 1_000_003 * self.ranks.rank)
        self.net.train()
        batches = iter(self.batches)
        for _ in range(self.done):
            next(batches)
        if not self.done:
            self.meter = Meter(self.device, self.ranks)
        elif self.random:
            random, cuda_random = self.random
            torch.set_rng_state(random)
            if len(cuda_random) and self.device.type == "cuda":
                torch.cuda.set_rng_state(cuda_random, self.device)
        self.random = None
        return batches

    def check(self) -> Record:
        """Return the record of this point; ValueError if the loss is not a finite number."""
        record = self.meter.record(self.epochs_done)
        if not math.isfinite(record.epoch_loss):
            self.give_up(f"the loss became {record.epoch_loss}")
        return record

    def check_weights(self) -> None:
        """Raise ValueError if a weight is no number, which no loss has told yet."""
        extremes = [torch.stack(parameter.aminmax()) for parameter in self.net.parameters()]
        if not torch.cat(extremes).isfinite().all():
            self.give_up("a weight became infinite")

    def give_up(self, reason: str) -> NoReturn:
        """Say that the training has gone off, and what is left."""
        lr = self.trainer.param_groups[0]["lr"]
        raise ValueError(
            f"{reason} in epoch {self.epoch + 1}, minibatch {self.done}, at a learning rate of "
            f"{lr:.3g}: load the model again and take a smaller lr, a warm-up, or clip=1.0"
            f"{self.kept}"
        )

    def step(
        self, number: int, X: Tensor | list[Tensor], y: Tensor, num_pairs: int
    ) -> tuple[Tensor, Tensor]:
        """Take one step on a minibatch; return each example's loss and outputs.

        X and y are this rank's share of its `num_pairs`.
        """
        if self.lr_at:
            for group in self.trainer.param_groups:
                group["lr"] = self.lr_at(number)
        self.trainer.zero_grad()
        # ranks take the mean of gradients
        scale = self.ranks.size / num_pairs if self.mean else 1.0
        parts = [(X, y)]
        if self.most_tokens is not None:
            parts = list(micro_batches(X, y, self.most_tokens))  # type: ignore[arg-type]  # a list
        with self.parallel.no_sync() if self.ranks.size > 1 else contextlib.nullcontext():
            outputs = [self.add_gradients(*part, scale) for part in parts[:-1]]
        outputs.append(self.add_gradients(*parts[-1], scale))  # now ranks exchange them
        if isinstance(self.trainer, RowAdam):
            self.trainer.gather()  # so that scaling and clipping see the whole gradient
        if self.clip is not None:
            self.scaler.unscale_(self.trainer)
            clip_gradients(self.net.parameters(), self.clip)
        self.scaler.step(self.trainer)
        self.scaler.update()
        losses, y_hats = zip(*outputs, strict=True)
        return torch.cat(losses), torch.cat(y_hats)

    def add_gradients(
        self, X: Tensor | list[Tensor], y: Tensor, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Add the gradients of the scaled sum of losses; return each example's loss and outputs."""
        X, y = to_device(X, self.device), y.to(self.device, non_blocking=True)
        with autocast(self.precision, self.device):
            y_hat = self.parallel(X)
        losses = self.loss(y_hat.float(), y)
        if losses.dim() == 0:
            raise ValueError("the loss is one number: give it reduction='none'")
        self.scaler.scale(scale * losses.sum()).backward()
        return losses.detach(), y_hat.detach()

    def smaller_parts(self, X: Tensor | list[Tensor]) -> str:
        """Advise a minibatch's parts that take less memory, if it can be taken in parts."""
        if not self.mean:
            return ""
        at_once = min(X[0].numel(), self.most_tokens or math.inf)
        return f", or most_tokens={at_once // 2} or less, the same but for dropout"


def _length(batches: DataLoader) -> int:
    try:
        return len(batches)
    except TypeError as error:
        raise ValueError(f"the minibatches have no length ({error}): give a DataLoader") from error


def micro_batches(X: list[Tensor], y: Tensor, most_tokens: int) -> Iterator[tuple]:
    """Cut a minibatch whose pairs stand in order of length into parts of at most so many tokens.

    Each part is padded to its own longest pair only.
    """
    lens, first = X[2].tolist(), 0
    for i, length in enumerate([*lens[1:], math.inf], start=1):
        if (i + 1 - first) * length > most_tokens:
            ids, segments, valid_lens = (x[first:i] for x in X)
            yield [ids[:, : lens[i - 1]], segments[:, : lens[i - 1]], valid_lens], y[first:i]
            first = i


def _plain(number: Any) -> Any:
    """Return a number of numpy's, which no checkpoint may hold, as one of Python's."""
    return number.item() if isinstance(number, np.generic) else number


def _check_learns(net: nn.Module) -> None:
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise ValueError(
            "every parameter is frozen, so there is nothing to train: unfreeze a part, such as "
            "net.output.requires_grad_(True), or all, net.requires_grad_(True)"
        )


def _describe(dataset: SNLIBERTDataset | None) -> str:
    """Tell a dataset from others, and a person how they differ."""
    if dataset is None:
        return "none"
    num_tokens = int(dataset.valid_lens.sum())
    return f"{len(dataset)} pairs of {num_tokens} tokens, checksum {dataset.fingerprint():08x}"


def _check_settings(
    lr: float,
    num_epochs: int,
    batch_size: int,
    schedule: str,
    warmup: float,
    clip: float | None,
    most_tokens: int | None,
    seed: int,
) -> None:
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown schedule {schedule!r}: use {' or '.join(SCHEDULES)}")
    for name, value, fits, rule in (
        ("lr", lr, _is_number(lr) and 0 < lr < math.inf, "more than 0, and finite"),
        ("num_epochs", num_epochs, _is_whole(num_epochs, 1), "a whole number, at least 1"),
        ("batch_size", batch_size, _is_whole(batch_size, 1), "a whole number, at least 1"),
        ("seed", seed, _is_whole(seed, 0) and seed < 2**53, "a whole number from 0 to below 2**53"),
        (
            "warmup",
            warmup,
            _is_number(warmup) and 0 <= warmup < 1,
            "a fraction of the steps, from 0 to below 1",
        ),
        ("clip", clip, clip is None or (_is_number(clip) and clip > 0), "more than 0, or None"),
        (
            "most_tokens",
            most_tokens,
            most_tokens is None or _is_whole(most_tokens, 1),
            "a whole number, at least 1, or None",
        ),
    ):
        if not fits:
            raise ValueError(f"{name}={value!r}: it must be {rule}")


def _check_early_stopping(keep: str, patience: int | None, dev_set: object) -> None:
    if keep not in KEEP:
        raise ValueError(f"unknown keep {keep!r}: use {' or '.join(KEEP)}")
    if not (patience is None or _is_whole(patience, 1)):
        raise ValueError(f"patience={patience!r}: it must be a whole number, at least 1, or None")
    if dev_set is None and (keep == "best" or patience is not None):
        raise ValueError(
            f"keep={keep!r}, patience={patience}: give a dev_set, which tells how good an epoch was"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not math.isnan(value)


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, Integral) and int(value) >= least
