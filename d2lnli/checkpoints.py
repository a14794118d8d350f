"""Pretrained checkpoints: from a name or a folder to a BERTModel and its vocabulary."""

import os

import torch
from torch import nn

from .bert import HEADS, BERTModel
from .layouts import open_checkpoint
from .layouts.checkpoint import Checkpoint
from .store.hub import ARCHITECTURES, find_folder
from .vocab import Vocab


def load_pretrained_model(
    name_or_dir: str | os.PathLike,
    num_hiddens: int | None = None,
    ffn_num_hiddens: int | None = None,
    num_heads: int | None = None,
    num_blks: int | None = None,
    dropout: float = 0.1,
    max_len: int | None = None,
    devices: list[torch.device] | None = None,
) -> tuple[BERTModel, Vocab]:
    """Load a BERT and its vocabulary: a name in `DATA_HUB`, `hf:ORG/NAME`, or a folder.

    The folder is of the book's layout (`vocab.json` and `pretrained.params`, PyTorch's or MXNet's,
    and perhaps `config.json`) or of Hugging Face's (`config.json`, `model.safetensors` or
    `pytorch_model.bin`, `vocab.txt`). What is left out of the architecture is read from the
    checkpoint; what contradicts it is a ValueError. Heads that the checkpoint lacks are new: this
    prints which. The model is in evaluation mode, on the first of `devices` if given, else on the
    CPU.
    """
    checkpoint = open_checkpoint(find_folder(name_or_dir))
    given = {
        "num_hiddens": num_hiddens,
        "ffn_num_hiddens": ffn_num_hiddens,
        "num_heads": num_heads,
        "num_blks": num_blks,
        "max_len": max_len,
    }
    known = {
        "config.json": checkpoint.sizes,
        "DATA_HUB": ARCHITECTURES.get(str(name_or_dir), {}),
        "your argument": {key: value for key, value in given.items() if value is not None},
    }
    architecture = _architecture(checkpoint, known)
    rows = architecture["vocab_size"]
    if len(checkpoint.vocab) != rows:
        raise ValueError(
            f"{checkpoint.vocab_path} has {len(checkpoint.vocab)} words, but the embedding in "
            f"{checkpoint.path.name} has {rows} rows: the two files belong to different checkpoints"
        )
    bert = _build(checkpoint, architecture, dropout).eval()
    for fact, names in (
        ("new, to be trained", [HEADS[head] for head in bert.new_heads]),
        ("left out", [f"{head} (another task's)" for head in checkpoint.left_out]),
    ):
        if names:
            print(f"{name_or_dir}: {fact}: {', '.join(names)}")
    return (bert.to(devices[0]) if devices else bert), checkpoint.vocab


def _architecture(checkpoint: Checkpoint, known: dict[str, dict]) -> dict:
    """Read the sizes off the tensors' shapes and hold what else is known against them."""
    path, tensors = checkpoint.path, checkpoint.tensors

    def shape(name: str, num_dimensions: int) -> tuple[int, ...]:
        name = checkpoint.name_in_file(name)
        if name not in tensors or tensors[name].dim() != num_dimensions:
            raise ValueError(
                f"{path} is not a BERT checkpoint: {name} is missing or has another shape; it "
                f"begins with {', '.join(list(tensors)[:3]) or 'nothing'}"
            )
        return tuple(tensors[name].shape)

    vocab_size, num_hiddens = shape("encoder.token_embedding.weight", 2)
    _, max_len, _ = shape("encoder.pos_embedding", 3)
    ffn_num_hiddens, _ = shape("encoder.blks.0.ffn.dense1.weight", 2)
    blocks = checkpoint.name_in_file("encoder.blks.")
    numbers = {n.removeprefix(blocks).partition(".")[0] for n in tensors if n.startswith(blocks)}
    found = {
        "vocab_size": vocab_size,
        "num_hiddens": num_hiddens,
        "ffn_num_hiddens": ffn_num_hiddens,
        "num_blks": len(numbers),
        "max_len": max_len,
    }
    source: dict[str, object] = dict.fromkeys(found, path)
    for where, sizes in known.items():
        for key, value in sizes.items():
            if found.setdefault(key, value) != value:
                raise ValueError(
                    f"{key}={value} ({where}) contradicts {key}={found[key]} ({source[key]}): "
                    "leave it out to take the checkpoint's"
                )
            source.setdefault(key, where)
    if "num_heads" not in found:
        raise ValueError(
            f"the number of heads cannot be read from {path}: give num_heads=…, or put a "
            "config.json with num_heads beside it"
        )
    return found


def _build(checkpoint: Checkpoint, architecture: dict, dropout: float) -> BERTModel:
    """Make the model without allocating it and give it the checkpoint's tensors."""
    try:
        with torch.device("meta"):
            bert = BERTModel(dropout=dropout, **architecture, **checkpoint.options)
    except ValueError as error:
        raise ValueError(f"{checkpoint.path}: {error}") from error
    expected = bert.state_dict()
    if bert.config.tied_decoder:
        del expected["mlm.mlp.3.weight"]
    names = {ours: checkpoint.name_in_file(ours) for ours in expected}
    bert.new_heads = tuple(
        head
        for head in HEADS
        if not any(names[ours] in checkpoint.tensors for ours in _below(head, names))
    )
    for head in bert.new_heads:
        for ours in _below(head, names):
            del expected[ours]
    _check(checkpoint, {names[ours]: tensor.shape for ours, tensor in expected.items()})
    params = {ours: checkpoint.tensors[names[ours]].float() for ours in expected}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # the CPU's alone: that of GPUs is not put back
        for head in bert.new_heads:
            _begin(getattr(bert, head))
    bert.load_state_dict(params, strict=False, assign=True)
    bert.tie()
    return bert


def _below(head: str, names: dict[str, str]) -> list[str]:
    return [ours for ours in names if ours.startswith(f"{head}.")]


def _begin(head: nn.Module) -> None:
    """Allocate the parameters of a head and draw them as torch does."""
    head.to_empty(device="cpu")
    for layer in head.modules():
        if reset := getattr(layer, "reset_parameters", None):
            reset()


def _check(checkpoint: Checkpoint, shapes: dict[str, torch.Size]) -> None:
    """Raise ValueError for what is missing, unexpected, of another shape or of another type."""
    tensors = checkpoint.tensors
    both = sorted(shapes.keys() & tensors.keys())
    faults = [
        *(f"{name} is missing" for name in sorted(shapes.keys() - tensors.keys())),
        *(f"{name} is unexpected" for name in sorted(tensors.keys() - shapes.keys())),
        *(
            f"{name} is {tuple(tensors[name].shape)}, not {tuple(shapes[name])}"
            for name in both
            if tensors[name].shape != shapes[name]
        ),
        *(
            f"{name} holds {tensors[name].dtype}, not floating-point numbers"
            for name in both
            if not tensors[name].is_floating_point()
        ),
    ]
    if faults:
        more = f" and {len(faults) - 5} more faults" if len(faults) > 5 else ""
        raise ValueError(
            f"{checkpoint.path} does not fit this BERT: {'; '.join(faults[:5])}{more}: "
            "fetch it again, or mend what names its sizes"
        )
