"""Layouts of pretrained BERTs: the book's for PyTorch and MXNet, and Hugging Face's.

Each module reads a folder and returns a `Checkpoint` (`checkpoint`) with tensors, names, sizes and
vocabulary. This folder may import `store` and nouns.
"""

from pathlib import Path

from .book import read_book
from .checkpoint import Checkpoint
from .huggingface import is_hugging_face, read_hugging_face


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint's folder, in any layout."""
    return read_hugging_face(folder) if is_hugging_face(folder) else read_book(folder)
