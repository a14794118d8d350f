"""From a checkpoint's tensors and sizes to a `BERTModel`; what does not fit is refused by name."""

import torch
from torch import nn

from ..bert import HEADS, BERTModel
from .checkpoint import Checkpoint
from .weights import check_floats

YOURS = "your argument"
"""The source of the sizes that somebody gives."""


def build(checkpoint: Checkpoint, known: dict[str, dict], dropout: float) -> BERTModel:
    """Return the model of a checkpoint, in evaluation mode.

    `known` are the sizes that each source gives. Raises ValueError if one contradicts the tensors.
    """
    sizes = _sizes(checkpoint, known)
    if len(checkpoint.vocab) != sizes["vocab_size"]:
        raise ValueError(
            f"{checkpoint.vocab_path} has {len(checkpoint.vocab)} words, but the embedding in "
            f"{checkpoint.path.name} has {sizes['vocab_size']} rows: the two files belong to "
            "different checkpoints"
        )
    return _model(checkpoint, sizes, dropout).eval()


def _sizes(checkpoint: Checkpoint, known: dict[str, dict]) -> dict:
    """Read the sizes from the tensors' shapes, and compare them with what else is known."""
    path = checkpoint.path
    vocab_size, num_hiddens = _shape(checkpoint, "encoder.token_embedding.weight", 2)
    _, max_len, _ = _shape(checkpoint, "encoder.pos_embedding", 3)
    ffn_num_hiddens, _ = _shape(checkpoint, "encoder.blks.0.ffn.dense1.weight", 2)
    prefix = checkpoint.name_in_file("encoder.blks.")
    inside = [n.removeprefix(prefix) for n in checkpoint.tensors if n.startswith(prefix)]
    found = {
        "vocab_size": vocab_size,
        "num_hiddens": num_hiddens,
        "ffn_num_hiddens": ffn_num_hiddens,
        "num_blks": len({name.partition(".")[0] for name in inside}),
        "max_len": max_len,
    }
    source: dict[str, object] = dict.fromkeys(found, path)
    for where, sizes in known.items():
        for key, value in sizes.items():
            if found.setdefault(key, value) != value:
                yours = "leave it out to take the checkpoint's"
                raise ValueError(
                    f"{key}={value} ({where}) contradicts {key}={found[key]} ({source[key]}): "
                    + (yours if where == YOURS else "fetch both files again")
                )
            source.setdefault(key, where)
    if "num_heads" not in found:
        raise ValueError(
            f"the number of heads cannot be read from {path}: give num_heads=…, or put a "
            "config.json with num_heads beside it"
        )
    return found


def _shape(checkpoint: Checkpoint, name: str, num_dimensions: int) -> tuple[int, ...]:
    name, tensors = checkpoint.name_in_file(name), checkpoint.tensors
    if name not in tensors or tensors[name].dim() != num_dimensions:
        raise ValueError(
            f"{checkpoint.path} is not a BERT checkpoint: {name} is missing or has another shape; "
            f"it begins with {', '.join(list(tensors)[:3]) or 'nothing'}"
        )
    return tuple(tensors[name].shape)


def _model(checkpoint: Checkpoint, sizes: dict, dropout: float) -> BERTModel:
    """Make the model without allocating it, and give it the checkpoint's tensors."""
    try:
        with torch.device("meta"):
            bert = BERTModel(dropout=dropout, **sizes, **checkpoint.options)
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
        torch.default_generator.manual_seed(0)  # of the CPU alone: fork_rng restores no GPU's here
        for head in bert.new_heads:
            _initialize(bert.get_submodule(head))
    bert.load_state_dict(params, strict=False, assign=True)
    bert.tie()
    return bert


def _below(head: str, names: dict[str, str]) -> list[str]:
    return [ours for ours in names if ours.startswith(f"{head}.")]


def _initialize(head: nn.Module) -> None:
    """Allocate the parameters of a head and initialize them as torch does."""
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
    ]
    if faults:
        more = f" and {len(faults) - 5} more faults" if len(faults) > 5 else ""
        raise ValueError(
            f"{checkpoint.path} does not fit this BERT: {'; '.join(faults[:5])}{more}: "
            "fetch it again, or correct the sizes that you gave"
        )
    for name in both:
        check_floats(name, tensors[name], checkpoint.path)
