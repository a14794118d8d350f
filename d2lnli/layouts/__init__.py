"""Layouts of BERTs: the book's for PyTorch and MXNet, Hugging Face's, and fine-tuned classifiers.

`book`, `huggingface` and `classifier` read a folder and return a `Checkpoint` (`checkpoint`) with
tensors, names, sizes and vocabulary, of which `building` makes a model. `export` writes Hugging
Face's layout. This folder may import `store` and nouns.
"""

from pathlib import Path

from ..store.classifiers import is_classifier_of_ours
from .book import read_book
from .checkpoint import Checkpoint
from .classifier import read_encoder
from .huggingface import is_hugging_face, read_hugging_face


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint's folder, in any layout."""
    if is_classifier_of_ours(folder) and not (folder / "pretrained.params").is_file():
        return read_encoder(folder)
    if is_hugging_face(folder):
        return read_hugging_face(folder)
    return read_book(folder)
