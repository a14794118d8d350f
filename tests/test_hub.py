"""The hub: real downloads, from a server on loopback."""

import hashlib
from pathlib import Path

import pytest

import d2lnli as d2l
import seams
from conftest import SPECIALS, contents, write_checkpoint, zip_folder
from seams import find_classifier, how_to_get, is_present, is_writable


@pytest.fixture
def published(server, tmp_path, monkeypatch, data_dir):
    """A checkpoint of the published layout under the name `my.bert`; returns its SHA-1."""
    write_checkpoint(tmp_path / "my.bert.torch", SPECIALS)
    sha1 = zip_folder(
        tmp_path / "my.bert.torch", server.folder / "my.bert.torch.zip", "__MACOSX/x", "Icon\r"
    )
    monkeypatch.setitem(d2l.DATA_HUB, "my.bert", (server.url + "my.bert.torch.zip", sha1))
    return sha1


def test_the_published_entries():
    assert d2l.DATA_URL == "https://d2l-data.s3-accelerate.amazonaws.com/"
    url, sha1 = d2l.DATA_HUB["bert.small"]
    assert url == d2l.DATA_URL + "bert.small.torch.zip"
    assert sha1 == "c72329e68a732bef0452e4b96a1c341c8910f81f"
    assert d2l.DATA_HUB["SNLI"][0].endswith("nlp.stanford.edu/projects/snli/snli_1.0.zip")
    installed = {"bert.tiny": "file:", "Scenes": "file:", "minilm": "pypi:"}
    for name, (url, sha1) in d2l.DATA_HUB.items():
        assert url.startswith(installed.get(name, "https://")), name
        assert name in installed or len(sha1) == 40


def test_download_extract_returns_the_folder_inside_the_archive(published, server, data_dir):
    folder = d2l.download_extract("my.bert")
    assert folder == str(data_dir / "my.bert.torch")
    names = {path.name for path in Path(folder).iterdir()}
    assert names == {"vocab.json", "pretrained.params", "config.json", ".sha1"}
    assert server.requests == ["/my.bert.torch.zip"]


def test_a_second_call_finds_it_there(published, server):
    assert not is_present("my.bert")
    first = d2l.download_extract("my.bert")
    assert is_present("my.bert")
    assert d2l.download_extract("my.bert") == first
    assert len(server.requests) == 1


def test_nothing_is_left_of_the_extraction_and_of_other_members(published, data_dir):
    d2l.download_extract("my.bert")
    assert contents(data_dir) == ["my.bert.torch", "my.bert.torch.zip"]


def test_an_archive_fetched_by_hand_is_used(published, server, data_dir):
    data_dir.mkdir()
    (server.folder / "my.bert.torch.zip").rename(data_dir / "my.bert.torch.zip")
    assert Path(d2l.download_extract("my.bert"), "vocab.json").is_file()
    assert server.requests == []


def test_a_folder_that_someone_extracted_by_hand_is_used(published, server, data_dir):
    write_checkpoint(data_dir / "my.bert.torch", SPECIALS)
    assert d2l.download_extract("my.bert") == str(data_dir / "my.bert.torch")
    assert server.requests == []


def test_another_folder_of_the_archive_can_be_named(server, tmp_path, monkeypatch, data_dir):
    write_checkpoint(tmp_path / "inner", SPECIALS)
    sha1 = zip_folder(tmp_path / "inner", server.folder / "outer.zip")
    monkeypatch.setitem(d2l.DATA_HUB, "mine", (server.url + "outer.zip", sha1))
    assert d2l.download_extract("mine", "inner") == str(data_dir / "inner")
    with pytest.raises(ValueError, match=r"outer\.zip.*'outer/'.*inner"):
        d2l.download_extract("mine")
    assert not (data_dir / "outer").exists()


def test_an_unknown_name_lists_the_known_ones():
    for call in (d2l.download_extract, d2l.download, d2l.load_pretrained_model):
        with pytest.raises(ValueError, match=r"'bert.huge'.*bert.small, bert.base"):
            call("bert.huge")


def test_an_extracted_folder_of_another_archive_is_not_passed_off(published, server, monkeypatch):
    d2l.download_extract("my.bert")
    monkeypatch.setitem(d2l.DATA_HUB, "my.bert", (server.url + "my.bert.torch.zip", "0" * 40))
    with pytest.raises(ValueError, match=rf"my\.bert.*SHA-1 {published}"):
        d2l.download_extract("my.bert")


def test_what_is_not_a_zip_archive_is_refused(server, monkeypatch, data_dir):
    (server.folder / "x.zip").write_bytes(b"PK but no more")
    sha1 = hashlib.sha1((server.folder / "x.zip").read_bytes()).hexdigest()
    monkeypatch.setitem(d2l.DATA_HUB, "x", (server.url + "x.zip", sha1))
    with pytest.raises(ValueError, match=r"x\.zip.*zip archive"):
        d2l.download_extract("x")
    assert not (data_dir / "x").exists()
    monkeypatch.setitem(d2l.DATA_HUB, "y", (server.url + "y.tar.gz", sha1))
    with pytest.raises(ValueError, match=r"y\.tar\.gz.*\.zip"):
        d2l.download_extract("y")


def test_a_download_without_a_sha1_is_refused(server, monkeypatch):
    monkeypatch.setitem(d2l.DATA_HUB, "x", (server.url + "x.zip", None))
    with pytest.raises(ValueError, match=r"DATA_HUB\['x'\].*SHA-1"):
        d2l.download_extract("x")


def test_a_data_folder_that_cannot_be_made_is_named(published, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("D2LNLI_DATA_DIR", str(tmp_path / "file" / "data"))
    with pytest.raises(OSError, match=r"my\.bert.*file/data.*D2LNLI_DATA_DIR"):
        d2l.download_extract("my.bert")


def test_a_local_archive_needs_no_network(tmp_path, monkeypatch, data_dir):
    write_checkpoint(tmp_path / "local bert", SPECIALS)
    zip_folder(tmp_path / "local bert", tmp_path / "local bert.zip")
    address = ((tmp_path / "local bert.zip").as_uri(), None)
    monkeypatch.setitem(d2l.DATA_HUB, "local", address)
    assert d2l.download_extract("local") == str(data_dir / "local bert")
    monkeypatch.setitem(d2l.DATA_HUB, "lost", ((tmp_path / "lost.zip").as_uri(), None))
    with pytest.raises(FileNotFoundError, match=r"lost.*lost\.zip"):
        d2l.download_extract("lost")


def test_the_bundled_entries_need_no_network_and_write_nothing(data_dir):
    for name in ("bert.tiny", "Scenes"):
        assert is_present(name)
        assert any(Path(d2l.download_extract(name)).iterdir())
    assert not data_dir.exists()


def test_a_former_name_opens_the_same_folder_and_says_and_writes_nothing(data_dir, capsys, recwarn):
    assert "SNLI-sample" not in d2l.DATA_HUB
    folder = d2l.download_extract("Scenes")
    assert Path(folder).name == "Scenes" and is_present("SNLI-sample")
    for call in (d2l.download_extract, d2l.download):
        assert call("SNLI-sample") == folder
    assert how_to_get("SNLI-sample") == how_to_get("Scenes").replace("Scenes", "SNLI-sample")
    assert not Path(folder).with_name("SNLI-sample").exists() and not data_dir.exists()
    assert capsys.readouterr() == ("", "") and not recwarn.list


def test_ones_own_entry_comes_before_a_former_name(tmp_path, monkeypatch, data_dir):
    bundled = d2l.download_extract("SNLI-sample")
    (tmp_path / "mine").mkdir()
    monkeypatch.setitem(d2l.DATA_HUB, "SNLI-sample", ((tmp_path / "mine").as_uri(), None))
    assert d2l.download_extract("SNLI-sample") == str(tmp_path / "mine")
    assert d2l.download_extract("Scenes") == bundled
    place = data_dir / "classifiers" / "bert.tiny-SNLI-sample"
    assert d2l.classifier_dir("bert.tiny", "SNLI-sample") == place


def test_a_former_name_leads_to_what_its_present_name_leads_to(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.setitem(d2l.DATA_HUB, "Scenes", ((tmp_path / "mine").as_uri(), None))
    assert d2l.download_extract("SNLI-sample") == str(tmp_path / "mine")
    monkeypatch.delitem(d2l.DATA_HUB, "Scenes")
    for call in (d2l.download_extract, d2l.download):
        with pytest.raises(ValueError, match=r"'SNLI-sample'.*bert\.small"):
            call("SNLI-sample")


def test_the_data_folder_is_the_environments_or_the_users(data_dir, monkeypatch):
    assert d2l.data_dir() == data_dir
    monkeypatch.delenv("D2LNLI_DATA_DIR")
    assert d2l.data_dir().name == "d2lnli"


def test_a_classifier_is_found_by_the_names_of_its_model_and_corpus(data_dir, tmp_path):
    folder = data_dir / "classifiers"
    assert d2l.classifier_dir("bert.tiny", "Scenes") == folder / "bert.tiny-Scenes"
    assert d2l.classifier_dir("bert.tiny", "SNLI-sample") == folder / "bert.tiny-Scenes"
    mine = d2l.classifier_dir("bert.tiny", tmp_path / "my")
    assert mine == d2l.classifier_dir("bert.tiny", str(tmp_path / "my/"))
    assert mine.parent == folder and mine.name.startswith("bert.tiny-my-")
    assert mine != d2l.classifier_dir("bert.tiny", tmp_path / "other" / "my")


@pytest.fixture
def shared_folder(data_dir, tmp_path) -> Path:
    """A data folder that may only be read (root could write all the same, so it is feigned)."""
    data_dir.mkdir()
    seams.is_read_only(data_dir)
    seams.users_cache_is(tmp_path / "own")
    return data_dir


def test_in_a_shared_folder_a_classifier_is_kept_in_the_users_own(shared_folder, tmp_path):
    own = tmp_path / "own" / "classifiers" / "bert.tiny-Scenes"
    assert d2l.classifier_dir("bert.tiny", "Scenes") == own
    assert find_classifier("bert.tiny", "Scenes") is None


def test_a_folder_is_writable_if_it_can_be_made_and_filled(tmp_path):
    (tmp_path / "file").touch()
    assert is_writable(tmp_path)
    assert is_writable(tmp_path / "new" / "folder")
    assert not is_writable(tmp_path / "file" / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_data_folder_of_nobody_is_named(monkeypatch):
    monkeypatch.setenv("D2LNLI_DATA_DIR", "~nobody-of-that-name/data")
    with pytest.raises(ValueError, match=r"D2LNLI_DATA_DIR=~nobody.*absolute path"):
        d2l.data_dir()


@pytest.mark.parametrize("file", ["classifier.safetensors", "model.safetensors"])
def test_ones_own_classifier_is_found_before_the_shared_one(shared_folder, file):
    name = "bert.tiny", "Scenes"
    shared = shared_folder / "classifiers" / "-".join(name)
    for folder in (shared, d2l.classifier_dir(*name)):
        folder.mkdir(parents=True)
        (folder / file).touch()
        assert find_classifier(*name) == folder


def test_download_extract_takes_a_folder_as_a_notebook_does(tmp_path):
    assert d2l.download_extract(tmp_path) == d2l.download_extract(str(tmp_path)) == str(tmp_path)
    with pytest.raises(ValueError, match="absent"):
        d2l.download_extract(tmp_path / "absent")
