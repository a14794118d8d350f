"""Fine-tuning: the one training loop, and the two ways into it, `finetune` and `train_ch13`."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .devices import autocast, choose_precision, first_device
from .evaluation import accuracy_on, check_fits, evaluate, to_device
from .files import replace_file
from .history import History, Record
from .layouts.files import read_torch
from .optimizer import RowAdam, adam, clip_gradients
from .plotting import LivePlot
from .progress import Meter, Progress
from .snli import SNLIBERTDataset, bucketed_loader

SCHEDULES = ("constant", "linear")
MOST_TOKENS = 4096
"""How many tokens go through a network at once on a CPU in fp32: what its caches hold."""


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
    device = first_device(devices)
    net.to(device)
    history = History(device=str([device]))
    training = _Training(net, train_iter, loss, trainer)
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
) -> History:
    """Fine-tune `net` in place with Adam on the mean cross-entropy; return the run's history.

    `schedule` is 'constant' or 'linear' (decay to zero), `warmup` the fraction of steps in which
    the learning rate first rises, `clip` the largest gradient norm, `precision` 'auto', 'fp32',
    'bf16' or 'fp16'. If there is a `dev_set`, its accuracy is measured after each epoch. With
    `run_dir`, `history.csv` and a checkpoint are written there, and the next call with the same
    settings goes on after the last whole epoch. An interrupt ends training cleanly.

    `most_tokens` go through the network at once: a minibatch of more is cut into parts, whose
    gradients are accumulated. Fewer take less memory. None: on a GPU all, on a CPU what it caches.
    """
    _check_settings(lr, num_epochs, batch_size, schedule, warmup, clip, most_tokens)
    for dataset in (train_set, dev_set):
        if dataset is not None:
            check_fits(net, dataset)
    device = first_device(devices)
    precision = choose_precision(precision, device)
    if most_tokens is None and device.type == "cpu":
        most_tokens = MOST_TOKENS * (1 if precision == "fp32" else 2)
    net.to(device)
    batches = bucketed_loader(train_set, batch_size, True, seed, pin_memory=device.type == "cuda")
    num_steps = num_epochs * len(batches)
    history = History(device=str([device]), precision=precision)
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda), adam(net, lr) as trainer:
        training = _Training(
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
        )
        run = None
        if run_dir is not None:
            settings = {
                "lr": lr,
                "num_epochs": num_epochs,
                "batch_size": batch_size,
                "schedule": schedule,
                "warmup": warmup,
                "clip": clip,
                "precision": precision,
                "seed": seed,
                "train_set": train_set.fingerprint(),
                "dev_set": dev_set.fingerprint() if dev_set is not None else None,
            }
            run = _Run(Path(run_dir), settings, training)
            batches.batch_sampler.epoch = run.resume(history)
        score = None if dev_set is None else lambda: evaluate(net, dev_set).accuracy
        training.run(num_epochs, history, score, run=run)
    return history


def lr_factor(step: int, num_steps: int, schedule: str, warmup: float) -> float:
    """Return the fraction of the learning rate at a step: a rise over `warmup`, then `schedule`."""
    num_warmup = round(warmup * num_steps)
    if step < num_warmup:
        return (step + 1) / num_warmup
    return 1.0 if schedule == "constant" else (num_steps - step) / (num_steps - num_warmup)


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


class _Training:
    """A network, its minibatches, and what a training step does."""

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
    ):
        self.net, self.batches, self.loss, self.trainer = net, batches, loss, trainer
        self.mean, self.most_tokens, self.lr_at, self.clip = mean, most_tokens, lr_at, clip
        self.precision, self.seed = precision, seed
        self.device = next(net.parameters()).device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")

    def run(
        self,
        num_epochs: int,
        history: History,
        score: Callable[[], float] | None,
        split: str = "dev",
        run: "_Run | None" = None,
    ) -> None:
        """Train from where `history` ends to `num_epochs`, or to an interrupt, and fill it.

        `score` measures the accuracy on the named split after each epoch.
        """
        num_steps = (num_epochs - history.num_epochs) * len(self.batches)
        file = run.folder / "history.csv" if run else None
        plot = LivePlot(num_epochs, split if score else None)
        with Progress(plot, num_steps, history, file) as progress:
            try:
                for epoch in range(history.num_epochs, num_epochs):
                    record = self.run_epoch(epoch, progress)
                    dev_acc = score() if score else math.nan
                    progress.report(dataclasses.replace(record, dev_acc=dev_acc))
                    if run:
                        run.save(history)
            except KeyboardInterrupt:
                history.interrupted = True
            finally:
                self.net.eval()

    def run_epoch(self, epoch: int, progress: Progress) -> Record:
        """Train on every minibatch once and return the epoch's means."""
        if self.seed is not None:
            torch.manual_seed(1000 * self.seed + epoch)
        self.net.train()
        num_batches = len(self.batches)
        report_every = max(1, num_batches // 20)
        meter = Meter(self.device)
        for i, (X, y) in enumerate(self.batches, start=1):
            losses, y_hat = self.step(epoch * num_batches + i - 1, X, y)
            meter.add(losses, y_hat, y)
            progress.advance()
            if i % report_every == 0 and i < num_batches:
                progress.report(meter.record(epoch + i / num_batches))
        if isinstance(self.trainer, RowAdam):
            self.trainer.catch_up()
        return meter.record(epoch + 1)

    def step(self, number: int, X: Tensor | list[Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step on a minibatch; return each example's loss and outputs."""
        if self.lr_at:
            for group in self.trainer.param_groups:
                group["lr"] = self.lr_at(number)
        self.trainer.zero_grad()
        scale = 1 / len(y) if self.mean else 1.0
        parts = [(X, y)] if self.most_tokens is None else micro_batches(X, y, self.most_tokens)
        outputs = [self.add_gradients(*part, scale) for part in parts]
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
            y_hat = self.net(X)
        losses = self.loss(y_hat.float(), y)
        if losses.dim() == 0:
            raise ValueError("the loss is one number: give it reduction='none'")
        self.scaler.scale(scale * losses.sum()).backward()
        return losses.detach(), y_hat.detach()


class _Run:
    """A run folder: the checkpoint of the last whole epoch, beside `history.csv`."""

    def __init__(self, folder: Path, settings: dict, training: _Training):
        self.folder, self.settings = folder, settings
        self.parts = {name: getattr(training, name) for name in ("net", "trainer", "scaler")}
        self.path = folder / "checkpoint.pt"
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, history: History) -> None:
        """Write the checkpoint whole or not at all."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state["records"] = [dataclasses.astuple(record) for record in history.records]
        state["settings"] = self.settings
        replace_file(self.path, lambda temporary: torch.save(state, temporary))

    def resume(self, history: History) -> int:
        """Put a run back to its checkpoint, if there is one; return how many epochs are done."""
        if not self.path.is_file():
            return 0
        state = read_torch(self.path, "delete it to start anew")
        for name, value in self.settings.items():
            if state["settings"][name] != value:
                raise ValueError(
                    f"{self.folder} holds a run with {name}={state['settings'][name]}, not "
                    f"{value}: use its settings to go on with it, or another run folder"
                )
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        history.records += [Record(*values) for values in state["records"]]
        return history.num_epochs


def _check_settings(
    lr: float,
    num_epochs: int,
    batch_size: int,
    schedule: str,
    warmup: float,
    clip: float | None,
    most_tokens: int | None,
) -> None:
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown schedule {schedule!r}: use {' or '.join(SCHEDULES)}")
    for name, value, fits, rule in (
        ("lr", lr, lr > 0, "more than 0"),
        ("num_epochs", num_epochs, num_epochs >= 1, "at least 1"),
        ("batch_size", batch_size, batch_size >= 1, "at least 1"),
        ("warmup", warmup, 0 <= warmup < 1, "a fraction of the steps, from 0 to below 1"),
        ("clip", clip, clip is None or clip > 0, "more than 0, or None"),
        ("most_tokens", most_tokens, most_tokens is None or most_tokens >= 1, "1 or more, or None"),
    ):
        if not fits:
            raise ValueError(f"{name}={value}: it must be {rule}")
