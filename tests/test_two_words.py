"""Notebooks with two words changed: the book's model and SNLI, from a server on loopback."""

import json
import re
from pathlib import Path

import pytest
import torch

import d2lnli as d2l
from conftest import SPECIALS, run_lesson, write_checkpoint, zip_folder
from seams import ARCHITECTURES

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9]*.ipynb"))
SLICE = Path(__file__).parents[2] / "shared" / "snli_slice"
STARTUP = """
import d2lnli as d2l
d2l.DATA_HUB.update({entries!r})
"""


def snli_rows() -> list[str]:
    """Rows of the real SNLI, or of `Scenes`, without its phenomena, where it is not at hand."""
    folder = SLICE if SLICE.is_dir() else Path(d2l.download_extract("Scenes"))
    text = (folder / "snli_1.0_train.txt").read_text(encoding="utf-8")
    return re.sub(r"(?m)(r\d+\w)\.[a-z]+(\t|$)", r"\1\2", text).splitlines()


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """An archive each for bert.small and SNLI, of the published layout, and what is in them."""
    folder = tmp_path_factory.mktemp("published")
    header, *rows = snli_rows()
    (folder / "snli_1.0").mkdir()
    for split, first, last in (("train", 0, 700), ("dev", 700, 900), ("test", 900, 1100)):
        text = "\n".join([header, *rows[first:last]]) + "\n"
        (folder / "snli_1.0" / f"snli_1.0_{split}.txt").write_text(text, encoding="utf-8")
    premises, hypotheses, _ = d2l.read_snli(folder / "snli_1.0", "train")
    words = sorted({word for text in premises + hypotheses for word in text.lower().split()})
    torch.manual_seed(0)
    sizes = ARCHITECTURES["bert.small"]
    write_checkpoint(folder / "bert.small.torch", [*SPECIALS, *words], config=False, **sizes)
    return folder


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_two_words_take_a_notebook_to_the_books_model_and_corpus(
    notebook, course, server, data_dir, tmp_path, monkeypatch
):
    entries = {}
    for entry, archive in (("bert.small", "bert.small.torch"), ("SNLI", "snli_1.0")):
        sha1 = zip_folder(course / archive, server.folder / f"{archive}.zip")
        entries[entry] = (f"{server.url}{archive}.zip", sha1)
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "hub.py").write_text(STARTUP.format(entries=entries))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    parameters = {"model": "bert.small", "corpus": "SNLI", "num_pairs": 500}
    cells = run_lesson(notebook, tmp_path, notebook.parent, **parameters)
    assert sorted(server.requests) == ["/bert.small.torch.zip", "/snli_1.0.zip"]
    text = json.dumps(cells)
    if notebook.stem == "03_fine_tuning":
        assert "read 500 examples" in text
        assert "'batch_size': 512" in text, "the book's settings"
    fine_tuned = data_dir / "classifiers" / "bert.small-SNLI" / "classifier.safetensors"
    assert fine_tuned.is_file() == (notebook.stem > "03")
