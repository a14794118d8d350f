"""The book's checkpoints: `vocab.json`, `pretrained.params`, and an optional `config.json`.

The PyTorch edition and the MXNet edition use the same file names.
"""

from pathlib import Path

from ..store.files import existing, read_json
from ..vocab import Vocab
from .checkpoint import Checkpoint, check_sizes, warn_of_capitals
from .mxnet import is_mxnet, read_mxnet
from .weights import read_torch_tensors

_SIZES = ("vocab_size", "num_hiddens", "ffn_num_hiddens", "num_heads", "num_blks", "max_len")
MXNET_NAMES = (
    (".ln.weight", ".ln.gamma"),
    (".ln.bias", ".ln.beta"),
    ("hidden.0.", "hidden."),
    ("mlm.mlp.2.weight", "mlm.mlp.1.gamma"),
    ("mlm.mlp.2.bias", "mlm.mlp.1.beta"),
    ("mlm.mlp.3.", "mlm.mlp.2."),
)
"""Replacements, in order, that turn our parameter names into the MXNet edition's."""


def read_book(folder: Path) -> Checkpoint:
    """Read a folder in the book's layout, from either edition."""
    vocab_path, path, config_path = (
        folder / name for name in ("vocab.json", "pretrained.params", "config.json")
    )
    words = read_json(vocab_path, list)
    try:
        vocab = Vocab.of_words(words)
    except ValueError as error:
        raise ValueError(f"{vocab_path} {error}") from error
    warn_of_capitals(words, vocab_path, "the model never sees these words")
    sizes = read_json(config_path, dict) if config_path.is_file() else {}
    for name in sizes.keys() - set(_SIZES):
        raise ValueError(f"{config_path}: unknown entry {name!r}: use {', '.join(_SIZES)}")
    check_sizes(sizes, config_path)
    mxnet = is_mxnet(existing(path))
    tensors, names = (read_mxnet(path), MXNET_NAMES) if mxnet else (read_torch_tensors(path), ())
    return Checkpoint(path, tensors, names, sizes, {}, vocab, vocab_path)
