"""The fine-tuned classifier of a model and a corpus: loaded, or made the first time."""

import contextlib
import io
import os
import warnings
from pathlib import Path

import torch

from .bert import BERTClassifier
from .classifiers import load_classifier, save_classifier
from .history import History
from .hub import classifier_dir, find_classifier, find_folder
from .plotting import in_notebook
from .pretrained import load_pretrained_model
from .recipes import recipe
from .snli import SNLIBERTDataset, read_snli
from .text import Vocab
from .training import finetune


def load_or_finetune(
    model: str = "bert.tiny",
    corpus: str = "SNLI-sample",
    num_pairs: int | None = None,
    max_len: int = 128,
) -> tuple[BERTClassifier, Vocab]:
    """Load the classifier that was fine-tuned from `model` on `corpus`, or fine-tune it first.

    It lives in the data folder, where the command line and notebook 03 keep theirs. A notebook
    shows the curves of the run, old or new. `num_pairs` and `max_len` count for a new run only; one
    that is interrupted is not kept.
    """
    if folder := find_classifier(model, corpus):
        _show(folder)
        return load_classifier(folder)
    data_dir = find_folder(corpus)
    with contextlib.redirect_stdout(io.StringIO()):
        bert, vocab = load_pretrained_model(model)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = BERTClassifier(bert)
    with contextlib.redirect_stdout(io.StringIO()):
        train_set, dev_set = (
            SNLIBERTDataset(read_snli(data_dir, split, most), max_len, vocab)
            for split, most in (("train", num_pairs), ("dev", None))
        )
        history = finetune(net, train_set, dev_set, **recipe(model))
    if not history.interrupted:
        try:
            save_classifier(classifier_dir(model, corpus), net, vocab, history)
        except OSError as error:  # it can be used all the same
            warnings.warn(str(error), stacklevel=2)
    return net, vocab


def _show(folder: Path) -> None:
    on_a_page = os.environ.get("SERVER_SOFTWARE", "").startswith("voila")
    if in_notebook() and not on_a_page and (folder / "history.csv").is_file():
        from IPython.display import display

        display(History.load(folder).plot())
