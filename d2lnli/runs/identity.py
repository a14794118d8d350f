"""What distinguishes one run from another: its network, its data and its settings."""

import zlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..bert import unwrapped
from ..dataset import SNLIBERTDataset
from ..history import differences
from ..recipes import Recipe
from .ranks import Ranks


def made_of(net: nn.Module, train_set: SNLIBERTDataset, recipe: Recipe) -> dict[str, Any]:
    """Return what a training starts from, and its settings, for a person and for comparison.

    The device and the precision are left out, because they change numbers only by rounding.
    """
    weights = 0
    for tensor in unwrapped(net).encoder.state_dict().values():
        weights = zlib.crc32(tensor.cpu().flatten().view(torch.uint8).numpy(), weights)
    settings = recipe.settings()
    del settings["precision"]
    return {
        "pairs": len(train_set),
        "max_len": train_set.max_len,
        "truncation": train_set.truncation,
        **settings,
        "frozen": ", ".join(frozen_parts(unwrapped(net))) or None,
        "checksum of the pairs": f"{train_set.fingerprint():08x}",
        "checksum of the pretrained encoder": f"{weights:08x}",
    }


def run_settings(
    net: nn.Module,
    train_set: SNLIBERTDataset,
    dev_set: SNLIBERTDataset | None,
    recipe: Recipe,
    ranks: Ranks,
) -> dict[str, Any]:
    """Return what must be the same when a run goes on; ValueError if it differs among ranks."""
    settings = {
        **recipe.settings(),
        "train_set": _describe(train_set),
        "dev_set": _describe(dev_set),
        "frozen": ", ".join(frozen_parts(unwrapped(net))) or None,
    }
    sizes = unwrapped(net).encoder.config.of_encoder()
    settings |= {f"net's {name}": value for name, value in sizes.items()}
    if differing := differences(ranks.from_rank_0(settings), settings):
        raise ValueError(
            f"process 0 of {ranks.size} has {differing} as in process {ranks.rank}: give all "
            "processes the same data and settings"
        )
    return settings


def _describe(dataset: SNLIBERTDataset | None) -> str:
    """Describe a dataset so that a person sees how two of them differ."""
    if dataset is None:
        return "none"
    num_tokens = int(dataset.valid_lens.sum())
    return f"{len(dataset)} pairs of {num_tokens} tokens, checksum {dataset.fingerprint():08x}"


def frozen_parts(net: nn.Module, prefix: str = "") -> Iterator[str]:
    """Yield the names of all frozen modules and parameters, but not of parts of frozen modules."""
    parts: list[tuple[str, Any]]
    parts = [*net.named_children(), *net.named_parameters(recurse=False)]
    for name, part in parts:
        parameters = [part] if isinstance(part, nn.Parameter) else list(part.parameters())
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        if parameters and not trainable:
            yield prefix + name
        elif len(trainable) < len(parameters):
            yield from frozen_parts(part, f"{prefix}{name}.")
