"""The fine-tuned classifier of a model and a corpus: loaded, or made the first time."""

import contextlib
import io
import json
import os
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch

from .bert import BERTClassifier
from .classifiers import describe, load_classifier, read_made_of, save_classifier
from .distributed import from_rank_0, rank
from .files import alone
from .history import History
from .hub import classifier_dirs, find_folder
from .plotting import in_notebook
from .pretrained import load_pretrained_model
from .recipes import recipe
from .runs import differences
from .snli import SNLIBERTDataset, read_snli
from .text import Vocab
from .training import finetune, made_of

_CHECKSUMS = {
    "checksum of the pairs": "other pairs",
    "checksum of the pretrained encoder": "other pretrained weights",
}


def load_or_finetune(
    model: str | os.PathLike = "bert.tiny",
    corpus: str | os.PathLike = "SNLI-sample",
    num_pairs: int | None = None,
    max_len: int = 128,
) -> tuple[BERTClassifier, Vocab]:
    """Load the classifier that was fine-tuned from `model` on `corpus`, or fine-tune it first.

    It lives in the data folder, where the command line and notebook 03 keep theirs, and is loaded
    only if it is what would be made here: from this encoder, on the first `num_pairs` as they are
    now, cut to `max_len`, by the model's recipe, to the end. A line says which one it is and when
    it was made; a notebook shows the curves of its run. Of several processes that want the same,
    one makes it while the others wait.
    """
    data_dir = find_folder(corpus)
    with contextlib.redirect_stdout(io.StringIO()):
        bert, vocab = load_pretrained_model(model)
        train_set = SNLIBERTDataset(read_snli(data_dir, "train", num_pairs), max_len, vocab)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = BERTClassifier(bert)
    settings = {**recipe(model), "seed": 0, "keep": "last", "patience": None}
    wanted = made_of(net, train_set, **settings)
    folders = classifier_dirs(model, corpus)
    if found := _find(folders, wanted):
        return _load(found)
    with _alone(folders[0]):
        if found := _find(folders, wanted):  # made meanwhile by another process
            return _load(found)
        if why := _differing(folders[0], wanted):
            print(f"{folders[0]} holds another classifier ({why}): fine-tuning a new one")
        with contextlib.redirect_stdout(io.StringIO()):
            dev_set = SNLIBERTDataset(read_snli(data_dir, "dev"), max_len, vocab)
            history = finetune(net, train_set, dev_set, **settings)
        history.made_of.update(model=str(model), corpus=str(corpus))
        folder = _place(folders[0], wanted)
        if rank() == 0:
            try:
                print(describe(save_classifier(folder, net, vocab, history)))
            except OSError as error:  # it can be used all the same
                warnings.warn(str(error), stacklevel=2)
    return net, vocab


def _find(folders: list[Path], wanted: dict) -> Path | None:
    """Return the first folder that holds what is wanted, of each folder and the one beside it."""
    places = [place for folder in folders for place in (folder, _beside(folder, wanted))]
    found = (place for place in places if _is_there(place) and not _differing(place, wanted))
    path = from_rank_0(str(next(found, "")))  # all ranks load, or all train
    return Path(path) if path else None


def _is_there(folder: Path) -> bool:
    return (folder / "model.safetensors").is_file()


def _differing(folder: Path, wanted: dict) -> str:
    """Say in what the classifier in a folder, if there is one, is not the one that is wanted."""
    if not _is_there(folder):
        return ""
    kept = read_made_of(folder)
    if not kept.keys() >= wanted.keys():
        return "its training data are not recorded"
    asked = {name: value for name, value in wanted.items() if name not in _CHECKSUMS}
    told = [differences(kept, {**asked, "interrupted": False})]
    told += [what for name, what in _CHECKSUMS.items() if kept[name] != wanted[name]]
    return "; ".join(filter(None, told))


def _beside(folder: Path, wanted: dict) -> Path:
    """Return where a classifier is kept if another one, which is not to be lost, has the place."""
    settings = {name: value for name, value in wanted.items() if "checksum" not in name}
    return folder.with_name(f"{folder.name}-{zlib.crc32(json.dumps(settings).encode()):08x}")


def _place(folder: Path, wanted: dict) -> Path:
    """Return where to keep a new classifier, which replaces one of as many pairs or fewer."""
    if not _is_there(folder):
        return folder
    kept = read_made_of(folder)
    data = {"pairs", "checksum of the pairs"}
    alike = all(kept.get(name) == wanted[name] for name in wanted.keys() - data)
    return folder if alike and kept["pairs"] <= wanted["pairs"] else _beside(folder, wanted)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time make a classifier, where the place can be written to at all."""
    with contextlib.ExitStack() as stack:
        if rank() == 0:
            with contextlib.suppress(OSError):
                stack.enter_context(alone(folder))
        yield


def _load(folder: Path) -> tuple[BERTClassifier, Vocab]:
    if not os.environ.get("SERVER_SOFTWARE", "").startswith("voila"):  # a page shows the Predictor
        print(describe(folder))
        if in_notebook() and (folder / "history.csv").is_file():
            from IPython.display import display

            display(History.load(folder).plot())
    return load_classifier(folder)
