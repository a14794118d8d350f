"""The one training loop: a network, its minibatches, and what a training step does."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .bert import BERTClassifier, unwrapped
from .best_epoch import BestEpoch
from .devices import autocast, memory_advice
from .distributed import (
    Agreement,
    data_parallel,
    from_all_ranks,
    rank,
    under_torchrun,
    world_size,
)
from .evaluation import to_device
from .history import History, Record
from .optimizer import RowAdam, catch_up_saved, clip_gradients
from .plotting import LivePlot
from .progress import Meter, Progress
from .runs import RunFolder
from .stop_button import StopButton

_LOOK_EVERY = 16  # minibatches: whether the loss is still a number
_STATEFUL = ("net", "trainer", "scaler", "best")


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
    ):
        self.net, self.batches, self.loss, self.trainer = unwrapped(net), batches, loss, trainer
        self.mean, self.most_tokens, self.lr_at, self.clip = mean, most_tokens, lr_at, clip
        self.precision, self.seed = precision, seed
        self.device = next(net.parameters()).device
        own = [trainer.embedding.weight] if isinstance(trainer, RowAdam) else []
        some_unused = type(self.net) is not BERTClassifier
        self.parallel: Any = data_parallel(net, own, some_unused)  # the net, or one around it
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self.epoch, self.done, self.meter = 0, 0, Meter(self.device)
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
            "random": [from_all_ranks(state[None]) for state in random],
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
        self.meter = Meter(self.device, *state["meter"])
        if len(random) == world_size():  # else the ranks' dropout begins anew
            self.random = random[rank()][0], cuda_random[rank()][0]

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
        agreement, stop = Agreement(), False
        shared = under_torchrun()
        with (
            Progress(plot, num_steps, history, keep, pass_on) as progress,
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
            torch.manual_seed(1000 * self.seed + self.epoch + 1_000_003 * rank())
        self.net.train()
        batches = iter(self.batches)
        for _ in range(self.done):
            next(batches)
        if not self.done:
            self.meter = Meter(self.device)
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
        scale = world_size() / num_pairs if self.mean else 1.0  # ranks take the mean of gradients
        parts = [(X, y)]
        if self.most_tokens is not None:
            parts = list(micro_batches(X, y, self.most_tokens))  # type: ignore[arg-type]  # a list
        with self.parallel.no_sync() if world_size() > 1 else contextlib.nullcontext():
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
