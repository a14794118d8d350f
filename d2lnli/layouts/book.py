"""The book's checkpoints: `vocab.json`, `pretrained.params`, and perhaps `config.json`.

The archives of its PyTorch edition and of its MXNet edition hold files of the same names.
"""

from pathlib import Path

from ..store.files import existing, read_json
from ..vocab import Vocab
from .checkpoint import Checkpoint, check_sizes, read_torch_tensors, warn_of_capitals
from .mxnet import is_mxnet, read_mxnet

_SIZES = ("vocab_size", "num_hiddens", "ffn_num_hiddens", "num_heads", "num_blks", "max_len")
MXNET_NAMES = (
    (".ln.weight", ".ln.gamma"),
    (".ln.bias", ".ln.beta"),
    ("hidden.0.", "hidden."),
    ("mlm.mlp.2.weight", "mlm.mlp.1.gamma"),
    ("mlm.mlp.2.bias", "mlm.mlp.1.beta"),
    ("mlm.mlp.3.", "mlm.mlp.2."),
)
"""Our name of a parameter -> the MXNet edition's, as replacements in order."""


def read_book(folder: Path) -> Checkpoint:
    """Read a folder of the book's layout, of either edition."""
    vocab_path, path, config_path = (
        folder / name for name in ("vocab.json", "pretrained.params", "config.json")
    )
    vocab = read_vocab(vocab_path)
    warn_of_capitals(vocab.idx_to_token, vocab_path, "the model never sees those words")
    sizes = read_json(config_path, dict) if config_path.is_file() else {}
    for name in sizes.keys() - set(_SIZES):
        raise ValueError(f"{config_path}: unknown entry {name!r}: use {', '.join(_SIZES)}")
    mxnet = is_mxnet(existing(path))
    return Checkpoint(
        path=path,
        tensors=read_mxnet(path) if mxnet else read_torch_tensors(path),
        names=MXNET_NAMES if mxnet else (),
        sizes=check_sizes(sizes, config_path),
        options={},
        vocab=vocab,
        vocab_path=vocab_path,
    )


def read_vocab(path: Path) -> Vocab:
    """Read a `vocab.json`: a list of words, of which the index is the id."""
    words = read_json(path, list)
    try:
        return Vocab.of_words(words)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error
