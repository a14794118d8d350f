"""The layouts in which pretrained BERTs come: the book's for PyTorch and MXNet, Hugging Face's.

Each reads a folder as a `Checkpoint` (`checkpoint`): tensors, names, sizes, vocabulary. It may
import `store` and nouns.
"""

from pathlib import Path

from .book import read_book
from .checkpoint import Checkpoint
from .huggingface import is_hugging_face, read_hugging_face


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint's folder, in whichever layout it is."""
    return read_hugging_face(folder) if is_hugging_face(folder) else read_book(folder)
