"""What many tests need: small networks, pairs, checkpoints, archives, and a web server."""

import functools
import hashlib
import http.server
import json
import re
import threading
import types
import zipfile
from pathlib import Path

import nbformat
import pytest
import torch
from safetensors.torch import load_file, save, save_file

import d2lnli as d2l
import seams

torch.set_num_threads(1)  # the networks here are too small for more

GOLDEN = Path(__file__).parent / "golden" / "d2l"
SPECIALS = ["<pad>", "<mask>", "<cls>", "<sep>", "<unk>"]
SIZES = dict(num_hiddens=16, ffn_num_hiddens=32, num_heads=4, num_blks=2, max_len=32)


def few_or_many(name: str, few: int, many: int) -> pytest.MarkDecorator:
    """Give a test a number: `few` by default, `many` in the soak tier."""
    return pytest.mark.parametrize(name, [few, many], ids=["few", "many"])


@pytest.fixture
def data_dir(tmp_path, monkeypatch) -> Path:
    """An empty data folder for this test alone."""
    monkeypatch.setenv("D2LNLI_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def as_it_was():
    """Let the next attempt at a download follow at once; put back what a test replaces."""
    seams.first_wait(0.001)
    yield
    seams.put_back()


def contents(folder: Path) -> list[str]:
    """Return the names of what is in a folder that may not be there; locks do not count."""
    names = (path.name for path in folder.iterdir()) if folder.exists() else ()
    return sorted(name for name in names if name != ".locks")


@pytest.fixture
def vocab() -> d2l.Vocab:
    return d2l.Vocab("a b c d e f g h".split(), reserved_tokens=SPECIALS)


@pytest.fixture
def net(vocab) -> d2l.BERTClassifier:
    torch.manual_seed(0)
    return d2l.BERTClassifier(d2l.BERTModel(len(vocab), dropout=0.1, **SIZES))


@pytest.fixture
def toy_pairs() -> tuple[list[str], list[str], list[int]]:
    """Pairs of many lengths whose label is told by the hypothesis, so that it can be learnt."""
    words = "a b c d e f g h".split()
    premises, hypotheses, labels = [], [], []
    for i in range(240):
        first, second = words[i % 8], words[(i // 8 + i) % 8]
        premises.append(" ".join([first, second] * (1 + i % 5)))
        hypotheses.append("a b c".split()[i % 3])
        labels.append(i % 3)
    return premises, hypotheses, labels


def write_checkpoint(folder: Path, words: list[str], config: bool = True, **sizes) -> d2l.BERTModel:
    """Write a random checkpoint as the published archives hold it, and return its model."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {**SIZES, **sizes}
    bert = d2l.BERTModel(len(words), dropout=0.1, **sizes)
    (folder / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    torch.save(
        bert.state_dict(), folder / "pretrained.params", _use_new_zipfile_serialization=False
    )
    if config:
        (folder / "config.json").write_text(json.dumps(sizes), encoding="utf-8")
    return bert


def write_former_classifier(
    folder: Path, net: d2l.BERTClassifier, vocab: d2l.Vocab, history: d2l.History | None = None
) -> None:
    """Write a classifier as earlier versions of the package did: three files, or four."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**net.encoder.config.of_encoder(), "num_classes": len(net.label_names)}
    config["label_names"] = list(net.label_names)
    if hasattr(vocab, "settings"):
        config["wordpiece"] = vocab.settings
    if history:
        config["made_of"] = {**history.made_of, "interrupted": False, "made": "2026-01-01 00:00"}
        history.save(folder / "history.csv")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocab.json").write_text(json.dumps(vocab.idx_to_token), encoding="utf-8")
    save_file(net.state_dict(), folder / "model.safetensors")


def weights_of(folder: Path) -> bytes:
    """Return the weights of a saved classifier, without what is said of them."""
    return save(load_file(folder / "classifier.safetensors"))


def write_corpus(folder: Path, rows: list[str], splits=("train", "dev", "test")) -> Path:
    """Write rows of label, premise and hypothesis as each of the splits; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(["gold_label\tsentence1_binary_parse\tsentence2_binary_parse", *rows]) + "\n"
    for split in splits:
        (folder / f"snli_1.0_{split}.txt").write_text(text, encoding="utf-8")
    return folder


def write_sample(folder: Path, pattern: str = "", **numbers: int) -> Path:
    """Write the first so many rows of the bundled corpus's splits that match."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, number in numbers.items():
        name = f"snli_1.0_{split}.txt"
        source = Path(d2l.download_extract("Scenes")) / name
        header, *rows = source.read_text(encoding="utf-8").splitlines()
        matching = [row for row in rows if re.match(pattern, row)][:number]
        (folder / name).write_text("\n".join([header, *matching]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def server(tmp_path):
    """A web server on loopback for what is in `server.folder`; it keeps the paths asked for."""
    folder = tmp_path / "www"
    folder.mkdir()
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            super().do_GET()

        def log_message(self, *arguments):
            pass

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{httpd.server_port}/"
        yield types.SimpleNamespace(folder=folder, url=url, requests=requests)
        httpd.shutdown()


def zip_folder(folder: Path, archive: Path, *extra: str) -> str:
    """Pack a folder as the published archives are, with more members; return the SHA-1.

    It is stored, not deflated, to save time; tests/test_extraction.py covers deflated archives.
    """
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, f"{folder.name}/{path.relative_to(folder)}")
        for name in extra:
            file.writestr(name, "junk")
    return hashlib.sha1(archive.read_bytes()).hexdigest()


def run_lesson(notebook: Path, tmp_path: Path, cwd: Path, **parameters) -> list:
    """Run a notebook with papermill, without exercises, which it calls errors; return its cells."""
    import papermill

    lesson = nbformat.read(notebook, as_version=4)
    lesson.cells = [c for c in lesson.cells if "raises-exception" not in c.metadata.get("tags", [])]
    nbformat.write(lesson, tmp_path / "lesson.ipynb")
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        tmp_path / "lesson.ipynb", out, parameters=parameters, cwd=cwd, progress_bar=False
    )
    return nbformat.read(out, as_version=4).cells
