"""Fine-tuning: the two ways into the one training loop, `finetune` and `train_ch13`."""

import math
import zlib
from collections.abc import Callable
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .bert import unwrapped
from .best_epoch import KEEP
from .devices import (
    choose_precision,
    first_device,
    known_devices,
    memory_advice,
    reproducible,
    try_all_gpus,
)
from .distributed import (
    all_devices,
    from_rank_0,
    own_device,
    rank,
    under_torchrun,
    world_size,
)
from .evaluation import accuracy_on, check_fits, evaluate
from .history import History
from .launching import frozen_parts, launch_run
from .loop import Training
from .minibatches import shared_loader
from .optimizer import adam
from .plotting import in_notebook
from .runs import differences, open_run
from .snli import SNLIBERTDataset, as_pairs

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
    if not _is_whole(num_epochs, 1):
        raise ValueError(f"num_epochs={num_epochs!r}: it must be a whole number, at least 1")
    if world_size() > 1:
        raise ValueError("train_ch13 trains in one process: use finetune under torchrun")
    _check_learns(net)
    device = first_device(devices)
    with memory_advice(device):
        net.to(device)
    history = History(device=str([device]))
    training = Training(net, train_iter, loss, trainer)
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
    several, or if you say `launch`, torchrun starts a process. A notebook is free meanwhile: the
    history comes at once, and what is asked of it or of `net` waits for the run's end. With a
    `run_dir` even another kernel can follow the run. In a script that torchrun starts, all
    processes call this together, `with process_group():`, and each has its share of every minibatch
    on its own device.
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
    if not under_torchrun() and (launch or len(devices or ()) > 1):
        devices = known_devices(devices or try_all_gpus())
        if precision != "auto":
            choose_precision(precision, devices[0])  # to refuse an unknown one here
        settings["most_tokens"] = most_tokens
        launched = launch_run(unwrapped(net), train_set, dev_set, settings, devices, run_dir)
        return launched if in_notebook() else launched.wait()
    device = own_device() if under_torchrun() else first_device(devices or try_all_gpus()[:1])
    with memory_advice(device):
        net.to(device)
    on_gpu = device.type == "cuda"
    batches = shared_loader(train_set, batch_size, seed, on_gpu, rank(), world_size())
    num_steps = num_epochs * len(batches)
    cuda = [device] if on_gpu else []
    with (
        open_run(run_dir) as run,
        torch.random.fork_rng(cuda),
        reproducible(device),
        adam(net, lr) as trainer,
    ):
        if precision == "auto" and run:
            precision = run.settings.get("precision", precision)  # a timing may differ, a run not
        precision = from_rank_0(choose_precision(precision, device))
        if most_tokens is None and device.type == "cpu":
            most_tokens = 2 * MOST_TOKENS
            if precision == "fp32":  # on a core of several, fewer are as fast and take less memory
                most_tokens = MOST_TOKENS if world_size() == 1 else MOST_TOKENS // 4
        history = History(device=all_devices(device), precision=precision)
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
        )
        settings |= {
            "precision": precision,
            "train_set": _describe(train_set),
            "dev_set": _describe(dev_set),
            "frozen": history.made_of["frozen"],
            **{f"net's {name}": value for name, value in unwrapped(net).encoder.config.items()},
        }
        if differing := differences(from_rank_0(settings), settings):
            raise ValueError(
                f"process 0 of {world_size()} has {differing}, as process {rank()} has: give all "
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
