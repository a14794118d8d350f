"""Hugging Face's hub, as a server on loopback imitates it."""

import hashlib
import http.server
import json
import threading
import types
from pathlib import Path

import huggingface_hub.constants
import huggingface_hub.file_download
import huggingface_hub.utils
import pytest

import d2lnli as d2l
from layouts import with_rows, write_hf, write_shards
from seams import main

FIRST, SECOND = "1" * 40, "2" * 40
OPTIONAL = ("tokenizer.json", "tokenizer_config.json", "pytorch_model.bin", "model.safetensors")


def forget_sessions() -> None:
    """Before 1.0 the library keeps a connection, and whether it may go on line."""
    getattr(huggingface_hub.utils, "reset_sessions", bool)()


@pytest.fixture
def hub(tmp_path, monkeypatch, data_dir):
    """A hub that holds the golden BERT as `org/bert`; `hub.main` is the commit of its `main`."""
    state = types.SimpleNamespace(
        folder=write_hf(tmp_path / "repository"), main=FIRST, requests=[], broken=False, cut=""
    )

    def listed(asked, commit):
        files = {path.name: path.stat().st_size for path in state.folder.iterdir()}
        if asked == "revision":
            siblings = [{"rfilename": name} for name in files]
            return {"id": "org/bert", "sha": commit, "siblings": siblings}
        return [{"type": "file", "path": name, "size": files[name], "oid": FIRST} for name in files]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            path = self.path.partition("?")[0].removeprefix("/api/models").strip("/")
            if path.count("/") < 3:  # the library asks for things of its own too
                return self.answer(404, {}, b"")
            state.requests.append((self.command, self.path))
            organisation, name, asked, revision, *file = path.split("/", 4)
            commit = {"main": state.main, "v1": FIRST}.get(revision, revision)
            path = state.folder / "".join(file)
            if state.broken:
                self.answer(403, {}, b"")
            elif (organisation, name) != ("org", "bert"):
                self.answer(401, {"X-Error-Code": "RepoNotFound"}, b"")
            elif commit not in (FIRST, SECOND):
                self.answer(404, {"X-Error-Code": "RevisionNotFound"}, b"")
            elif asked != "resolve":  # the commit, or, as of 2.0, its files
                self.answer(200, {"X-Repo-Commit": commit}, json.dumps(listed(asked, commit)))
            elif not path.is_file():
                headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
                self.answer(404, headers, b"")
            else:
                content = path.read_bytes()
                etag = f'"{hashlib.sha1(content).hexdigest()}"'
                self.answer(200, {"ETag": etag, "X-Repo-Commit": commit}, content)

        do_GET = do_HEAD  # noqa: N815

        def answer(self, status, headers, content):
            content = content.encode() if isinstance(content, str) else content
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                is_cut = state.cut and self.path.endswith(state.cut)
                self.wfile.write(content[: len(content) // 2] if is_cut else content)
                self.close_connection = bool(is_cut)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{httpd.server_port}"
        forget_sessions()
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        for module in (huggingface_hub.constants, huggingface_hub.file_download):  # as of 0.26
            monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        yield state
        httpd.shutdown()


def fetched(hub) -> list[str]:
    """Return the files that were downloaded, as they ended: config and vocabulary side by side."""
    files = [path.rsplit("/", 1)[-1] for how, path in hub.requests if how == "GET"]
    files = [file for file in files if "." in file]
    return sorted(files[:-1]) + files[-1:]


def test_a_bert_is_one_string_away(hub, data_dir):
    bert, vocab = d2l.load_pretrained_model("hf:org/bert")
    assert bert.encoder.config.num_blks == 3
    assert vocab.tokenize("A man") == ["a", "man"]
    assert (data_dir / "huggingface").is_dir()
    assert fetched(hub) == ["config.json", "vocab.txt", "model.safetensors"]  # the weights last


def test_a_second_call_asks_for_nothing_and_stays_at_the_commit(hub):
    d2l.load_pretrained_model("hf:org/bert")
    hub.main, asked = SECOND, len(hub.requests)
    write_hf(hub.folder, config={"num_attention_heads": 8})
    bert, _ = d2l.load_pretrained_model("hf:org/bert")
    assert len(hub.requests) == asked
    assert bert.encoder.config.num_heads == 4


def test_a_revision_can_be_named(hub, data_dir):
    d2l.load_pretrained_model("hf:org/bert@v1")
    hub.main = SECOND
    write_hf(hub.folder, config={"num_attention_heads": 8})
    bert, _ = d2l.load_pretrained_model("hf:org/bert")
    assert bert.encoder.config.num_heads == 8
    assert d2l.load_pretrained_model(f"hf:org/bert@{SECOND}")[0].encoder.config.num_heads == 8


def test_pickled_weights_are_fetched_where_there_are_no_others(hub):
    (hub.folder / "model.safetensors").unlink()
    write_hf(hub.folder, file="pytorch_model.bin")
    d2l.load_pretrained_model("hf:org/bert")
    assert fetched(hub) == ["config.json", "vocab.txt", "pytorch_model.bin"]


def test_pickled_weights_are_not_fetched_beside_others(hub):
    (hub.folder / "pytorch_model.bin").write_bytes(b"not read")
    d2l.load_pretrained_model("hf:org/bert")
    assert fetched(hub) == ["config.json", "vocab.txt", "model.safetensors"]


def test_offline_mode_is_honoured(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    forget_sessions()
    with pytest.raises(OSError, match=r"hf:org/bert.*(?i:offline|outgoing)"):
        d2l.load_pretrained_model("hf:org/bert")
    assert hub.requests == []
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    forget_sessions()
    d2l.load_pretrained_model("hf:org/bert")
    asked = len(hub.requests)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    d2l.load_pretrained_model("hf:org/bert")
    assert len(hub.requests) == asked


def test_without_a_network_a_lost_file_is_not_said_to_be_missing_on_the_hub(
    hub, data_dir, monkeypatch
):
    d2l.load_pretrained_model("hf:org/bert")
    for lost in data_dir.rglob("model.safetensors"):
        lost.unlink()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    forget_sessions()
    with pytest.raises(OSError, match=r"hf:org/bert.*(?i:offline|outgoing)"):
        d2l.load_pretrained_model("hf:org/bert")


def test_what_was_fetched_by_halves_is_fetched_to_the_end(hub, data_dir):
    weights = (hub.folder / "model.safetensors").read_bytes()
    (hub.folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"hf:org/bert.*model\.safetensors"):
        d2l.load_pretrained_model("hf:org/bert")
    (hub.folder / "model.safetensors").write_bytes(weights)
    d2l.load_pretrained_model("hf:org/bert")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:org/nothing", "RepositoryNotFound"),
        ("hf:org/bert@v9", "RevisionNotFound"),
    ],
)
def test_what_the_hub_does_not_have_is_an_oserror(hub, name, message):
    with pytest.raises(OSError, match=rf"{name}.*{message}.*give the folder"):
        d2l.load_pretrained_model(name)


@pytest.mark.parametrize("name", ["", "bert", "org/bert/more", "../..@x y", "a/b@", "../.."])
def test_a_name_of_another_form_is_refused(name, data_dir):
    with pytest.raises(ValueError, match="hf:ORG/NAME"):
        d2l.load_pretrained_model(f"hf:{name}")


def test_a_hub_that_refuses_is_an_oserror(hub, monkeypatch):
    hub.broken = True
    with pytest.raises(OSError, match=r"hf:org/bert.*give the folder"):
        d2l.load_pretrained_model("hf:org/bert")
    hub.broken = False
    d2l.load_pretrained_model("hf:org/bert")


@pytest.mark.parametrize("file", ["vocab.txt", "model.safetensors"])
def test_a_connection_that_breaks_is_an_oserror_and_a_retry_succeeds(hub, file):
    hub.cut = file
    with pytest.raises(OSError, match=r"hf:org/bert.*give the folder"):
        d2l.load_pretrained_model("hf:org/bert")
    hub.cut = ""
    d2l.load_pretrained_model("hf:org/bert")


@pytest.mark.parametrize("damage", [b"", b".."])
def test_a_damaged_note_of_the_commit_is_made_anew(hub, data_dir, damage):
    d2l.load_pretrained_model("hf:org/bert")
    (note,) = data_dir.rglob("refs/main")
    note.write_bytes(damage)
    d2l.load_pretrained_model("hf:org/bert")
    assert note.read_text() == FIRST


def test_the_command_line_fetches_it_before_class(hub, capsys):
    assert main(["download", "hf:org/bert"]) == 0
    assert capsys.readouterr().out.startswith("hf:org/bert: ")
    asked = len(hub.requests)
    d2l.load_pretrained_model("hf:org/bert")
    assert len(hub.requests) == asked


def test_it_is_listed_by_its_name_and_can_be_removed(hub, data_dir, capsys):
    folder = d2l.download_extract("hf:org/bert")
    capsys.readouterr()
    assert main(["cache"]) == 0
    entry, total = capsys.readouterr().out.splitlines()
    assert entry.endswith("kB hf:org/bert") and str(data_dir) in total
    assert main(["cache", "--clear", "hf:org/bert"]) == 0
    assert not Path(folder).exists()
    assert d2l.download_extract("hf:org/bert") == folder


def test_its_classifier_has_a_name_of_its_own(hub):
    assert d2l.classifier_dir("hf:org/bert", "SNLI").name == "org--bert-SNLI"
    assert d2l.classifier_dir("hf:other/bert", "SNLI").name == "other--bert-SNLI"
    assert d2l.recipe("hf:org/bert") == d2l.recipe("bert.base")
    assert json.dumps(d2l.recipe("hf:org/bert"))


INDEX = "model.safetensors.index.json"
SHARDS = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]


@pytest.fixture
def sharded(hub):
    """The hub with its weights in three shards; `hub.index` is what their index holds."""
    hub.index = write_shards(hub.folder)
    return hub


def gets(hub, file: str) -> int:
    return sum(how == "GET" and path.endswith(f"/{file}") for how, path in hub.requests)


def test_shards_are_fetched_with_their_index_and_asked_for_once(sharded):
    d2l.load_pretrained_model("hf:org/bert")
    assert [gets(sharded, file) for file in (INDEX, *SHARDS)] == [1, 1, 1, 1]
    asked = len(sharded.requests)
    d2l.load_pretrained_model("hf:org/bert")
    assert len(sharded.requests) == asked


def test_shards_that_were_fetched_by_halves_are_completed(sharded, data_dir):
    d2l.load_pretrained_model("hf:org/bert")
    for lost in SHARDS[1:]:  # as if the first download had been killed
        (path,) = data_dir.rglob(lost)
        path.resolve().unlink()
        path.unlink(missing_ok=True)
    d2l.load_pretrained_model("hf:org/bert")
    assert [gets(sharded, file) for file in (INDEX, *SHARDS)] == [1, 1, 2, 2]


@pytest.mark.parametrize("file", ["../x", "/etc/passwd", "..", "", "a/b", "x\\y", INDEX])
def test_an_index_that_points_outside_fetches_nothing_more(sharded, tmp_path, data_dir, file):
    good = json.dumps(sharded.index)
    sharded.index["weight_map"]["bert.pooler.dense.bias"] = file
    (sharded.folder / INDEX).write_text(json.dumps(sharded.index))
    (tmp_path / "x").write_text("outside")
    before = {path for path in tmp_path.rglob("*") if data_dir not in (path, *path.parents)}
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"{INDEX}: bert\.pooler\.dense\.bias is in"):
            d2l.load_pretrained_model("hf:org/bert")
    last = [path for how, path in sharded.requests if how == "GET" and "/resolve/" in path][-1]
    assert last.endswith(INDEX)
    assert before == {p for p in tmp_path.rglob("*") if data_dir not in (p, *p.parents)}
    (sharded.folder / INDEX).write_text(good)
    sharded.main = SECOND  # a correction is a new commit
    d2l.load_pretrained_model("hf:org/bert")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["tf_model.h5"], r"hf:org/bert has weights for TensorFlow \(tf_model\.h5\).*from_tf"),
        (["flax_model.msgpack"], r"hf:org/bert has weights for Flax.*from_flax"),
        (["adapter_config.json", "adapter_model.safetensors"], r"hf:org/bert has an adapter.*peft"),
        ([], r"hf:org/bert has neither model\.safetensors nor pytorch_model\.bin"),
    ],
)
def test_a_repository_without_weights_of_use_is_named_so(hub, data_dir, files, message):
    (hub.folder / "model.safetensors").unlink()
    for file in files:
        (hub.folder / file).write_bytes(b"{}")
    with pytest.raises(ValueError, match=message):
        d2l.load_pretrained_model("hf:org/bert")
    assert not any(gets(hub, file) for file in files if file != "adapter_config.json")


def test_a_model_with_an_adapter_is_refused_before_it_is_fetched(hub):
    (hub.folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"hf:org/bert has an adapter.*merge_and_unload"):
        d2l.load_pretrained_model("hf:org/bert")
    assert not gets(hub, "model.safetensors")


def test_added_tokens_are_fetched(hub):
    write_hf(hub.folder, lambda tensors: with_rows(tensors, 1), {"vocab_size": 105})
    (hub.folder / "added_tokens.json").write_text('{"zebra": 104}')
    _, vocab = d2l.load_pretrained_model("hf:org/bert")
    assert vocab.tokenize("a zebra") == ["a", "zebra"]


def test_a_configuration_of_the_first_berts_is_fetched(hub):
    (hub.folder / "config.json").rename(hub.folder / "bert_config.json")
    assert d2l.load_pretrained_model("hf:org/bert")[0].encoder.config.num_heads == 4
