"""Downloads under every fault: a message that says what to do, a cache as before, no work lost."""

import errno
import os
import random
import resource
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import d2lnli as d2l
import seams
from conftest import contents, few_or_many
from faulty import NAME, PROCESSES, faulty_server, get, is_whole
from seams import ATTEMPTS

ARCHIVE = f"{NAME}.zip"
MOMENTS = f".{ARCHIVE}.part", f".{NAME}.extracting"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    with faulty_server(tmp_path_factory.mktemp("www")) as server:
        yield server


@pytest.fixture
def faulty(kept, data_dir, monkeypatch):
    """The faulty server, behaving, its archive under `NAME` in the hub."""
    kept.faults.clear(), kept.requests.clear()
    kept.ranges, kept.seconds = True, 0.0
    monkeypatch.setitem(d2l.DATA_HUB, NAME, kept.address)
    seams.server_is_lost_after(0.3)
    return kept


def ranges(server) -> list[str | None]:
    return [asked for _, asked in server.requests]


@pytest.mark.parametrize("fault", ["cut", "reset", "stalled", 500, 502, 503, 429, 408])
def test_what_may_pass_is_tried_again(faulty, data_dir, fault, capsys):
    faulty.faults[:] = [fault] * (ATTEMPTS - 1)
    assert is_whole(Path(d2l.download_extract(NAME)), faulty.folder)
    assert contents(data_dir) == [NAME, ARCHIVE]
    assert capsys.readouterr().out.count("trying again") == ATTEMPTS - 1


def test_waits_grow_and_end(faulty, monkeypatch):
    waits = []
    seams.first_wait(1.0)
    monkeypatch.setattr(time, "sleep", waits.append)
    faulty.faults[:] = [503] * 10
    with pytest.raises(OSError, match=r"503"):
        d2l.download(NAME)
    assert len(waits) == ATTEMPTS - 1 == len(faulty.requests) - 1
    assert all(0.5 * 2**i <= wait <= 1.5 * 2**i for i, wait in enumerate(waits))


def test_a_broken_download_goes_on_where_it_broke_off(faulty):
    faulty.faults[:] = ["cut"] * 7
    d2l.download(NAME)
    first, *rest = ranges(faulty)
    assert first is None
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in rest]
    assert len(starts) == 7
    assert starts == sorted(set(starts))
    assert starts[0] >= len(faulty.content) // 3


def test_a_server_without_parts_begins_anew(faulty):
    faulty.ranges, faulty.faults[:] = False, ["cut", "cut"]
    assert is_whole(Path(d2l.download_extract(NAME)), faulty.folder)


def test_a_server_that_always_breaks_off_is_given_up(faulty, data_dir):
    faulty.ranges, faulty.faults[:] = False, ["cut"] * 100
    with pytest.raises(OSError, match=rf"{NAME}: .*http.*by hand.*{ARCHIVE}"):
        d2l.download(NAME)
    assert len(faulty.requests) == 1 + ATTEMPTS  # the first brings something
    faulty.faults.clear()
    assert is_whole(Path(d2l.download_extract(NAME)), faulty.folder)
    assert contents(data_dir) == [NAME, ARCHIVE]


def test_parts_of_two_versions_are_not_joined(faulty, data_dir):
    data_dir.mkdir()
    (data_dir / f".{ARCHIVE}.part").write_bytes(b"another version" * 1000)
    assert is_whole(Path(d2l.download_extract(NAME)), faulty.folder)
    assert ranges(faulty) == ["bytes=15000-", None]


@pytest.mark.parametrize("longer", [b"", b"junk"])
def test_a_whole_part_is_not_fetched_again(faulty, data_dir, longer):
    data_dir.mkdir()
    (data_dir / f".{ARCHIVE}.part").write_bytes(faulty.content + longer)
    assert is_whole(Path(d2l.download_extract(NAME)), faulty.folder)
    assert len(faulty.requests) == (2 if longer else 1)
    assert contents(data_dir) == [NAME, ARCHIVE]


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (404, OSError, r"404.*http.*by hand.*my bert\.zip"),
        (403, OSError, r"403.*by hand"),
        ("login", OSError, r"web page.*http.*/login.*by hand"),
        ("error page", OSError, r"web page.*http.*my%20bert\.zip.*by hand"),
        ("odd redirect", OSError, r"http.*by hand"),
        ("another version", ValueError, r"SHA-1 \w{40}.*by hand"),
    ],
)
@pytest.mark.parametrize("before", ["nothing", "an old archive"])
def test_what_is_not_the_archive_leaves_the_cache_as_it_was(
    faulty, data_dir, fault, error, message, before
):
    if before != "nothing":
        data_dir.mkdir()
        (data_dir / ARCHIVE).write_bytes(b"an old version")
    names = contents(data_dir)
    faulty.faults[:] = [fault]
    with pytest.raises(error, match=rf"{NAME}.*{message}"):
        d2l.download_extract(NAME)
    assert len([path for path, _ in faulty.requests if path != "/login"]) == 1
    assert contents(data_dir) == names
    for name in names:
        assert (data_dir / name).read_bytes() == b"an old version"
    assert is_whole(Path(d2l.download_extract(NAME)), faulty.folder)


@pytest.mark.parametrize("fault", ["no length, cut", "odd length"])
def test_a_body_cut_without_a_length_is_fetched_again(faulty, fault):
    faulty.faults[:] = [fault]
    assert is_whole(Path(d2l.download_extract(NAME)), faulty.folder)
    assert ranges(faulty) == [None, None]


def test_certificates_that_are_not_there_are_said_with_a_way_out(faulty, data_dir, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    address = (faulty.url.replace("http", "https") + "my.zip", faulty.sha1)
    monkeypatch.setitem(d2l.DATA_HUB, NAME, address)
    with pytest.raises(OSError, match=rf"{NAME}.*/nowhere\.pem.*by hand"):
        d2l.download(NAME)
    assert contents(data_dir) == []


@pytest.mark.parametrize("odd", [NAME, ARCHIVE, ".locks"])
def test_what_is_in_the_way_is_said(faulty, data_dir, odd):
    data_dir.mkdir()
    if odd == ARCHIVE:
        (data_dir / odd).mkdir()
    else:
        (data_dir / odd).touch()
    with pytest.raises(OSError, match=rf"{NAME}.*{data_dir}.*D2LNLI_DATA_DIR.*folder"):
        d2l.download_extract(NAME)


def test_a_folder_that_many_may_write_to_stays_one(faulty, data_dir):
    data_dir.mkdir()
    data_dir.chmod(0o777)
    before = os.umask(0o022)
    try:
        d2l.download_extract(NAME)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o666 for path in (data_dir / ".locks").iterdir()}
    assert (data_dir / ".locks").stat().st_mode & 0o777 == 0o777
    assert set(modes.values()) == {0o666}


def test_no_network_and_bad_certificates_say_what_to_do(faulty, data_dir, monkeypatch):
    for url, message, waits in (
        ("http://127.0.0.1:9/my.zip", "Connection refused", ATTEMPTS - 1),
        ("http://no.such.host.invalid/my.zip", "resol", ATTEMPTS - 1),
        (faulty.url.replace("http", "https") + "my.zip", "SSL", 0),
    ):
        slept = []
        monkeypatch.setattr(time, "sleep", slept.append)
        monkeypatch.setitem(d2l.DATA_HUB, NAME, (url, faulty.sha1))
        with pytest.raises(OSError, match=rf"{url}.*{message}.*by hand"):
            d2l.download(NAME)
        assert len(slept) == waits
        assert contents(data_dir) == []


def test_a_proxy_is_honoured(faulty, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", faulty.url)
    address = "http://data.invalid/my%20bert.zip"
    monkeypatch.setitem(d2l.DATA_HUB, NAME, (address, faulty.sha1))
    assert is_whole(Path(d2l.download_extract(NAME)), faulty.folder)
    assert faulty.requests == [(address, None)]


def test_a_disk_that_is_too_small_is_seen_at_once(faulty, data_dir):
    seams.disk_has(free=1000)
    with pytest.raises(OSError, match=r" 1,000 .*free some space.*D2LNLI_DATA_DIR"):
        d2l.download(NAME)
    assert contents(data_dir) == []


def get_with_room_for(size: int, *arguments: object) -> None:
    """Fetch, but no file may become larger; the exit status tells what was raised."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        get(*arguments)
    except OSError as error:
        said = str(error)
        sys.exit(errno.ENOSPC if "full" in said or "free some space" in said else 1)


@pytest.mark.parametrize("step", ["download", "extraction"])
def test_a_disk_that_fills_up_keeps_nothing_half(faulty, data_dir, step):
    before = []
    if step == "extraction":
        d2l.download(NAME)
        before = [ARCHIVE]
    child = PROCESSES.Process(target=get_with_room_for, args=(50_000, faulty.address, data_dir))
    child.start()
    child.join()
    assert child.exitcode == errno.ENOSPC
    assert contents(data_dir) == before
    assert is_whole(Path(d2l.download_extract(NAME)), faulty.folder)


def test_what_is_there_needs_no_network_and_no_right_to_write(faulty, data_dir, monkeypatch):
    d2l.download_extract(NAME)
    shutil.rmtree(data_dir / ".locks")
    faulty.requests.clear()
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: pytest.fail("it wants to write"))
    for _ in range(2):
        assert is_whole(Path(d2l.download_extract(NAME)), faulty.folder)
        assert Path(d2l.download(NAME)).read_bytes() == faulty.content
    assert faulty.requests == []


@few_or_many("moments", 6, 50)
def test_killed_at_any_moment_a_plain_retry_succeeds(faulty, data_dir, moments):
    rng, states = random.Random(moments), []
    for i in range(moments):
        shutil.rmtree(data_dir, ignore_errors=True)
        faulty.seconds = 0.2
        child = PROCESSES.Process(target=get, args=(faulty.address, data_dir, 0.03))
        child.start()
        while child.is_alive() and MOMENTS[i % 2] not in contents(data_dir):
            time.sleep(0.001)
        child.join(timeout=rng.uniform(0, 0.2))
        child.kill()
        child.join()
        states.append(tuple(contents(data_dir)))
        if (data_dir / NAME).exists():
            assert is_whole(data_dir / NAME, faulty.folder)
        faulty.seconds = 0
        assert is_whole(Path(d2l.download_extract(NAME)), faulty.folder)
        assert contents(data_dir) == [NAME, ARCHIVE]
    print({state: states.count(state) for state in states})
    for moment in MOMENTS:
        assert any(moment in state for state in states), f"no kill met {moment}"


def test_sixteen_processes_fetch_once(faulty, data_dir):
    faulty.seconds = 0.5
    children = [PROCESSES.Process(target=get, args=(faulty.address, data_dir)) for _ in range(16)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 16
    assert len(faulty.requests) == 1
    assert is_whole(data_dir / NAME, faulty.folder)
    assert contents(data_dir) == [NAME, ARCHIVE]


def test_a_waiting_process_takes_over_from_one_that_was_killed(faulty, data_dir):
    faulty.seconds = 1.0
    first, second = (
        PROCESSES.Process(target=get, args=(faulty.address, data_dir)) for _ in range(2)
    )
    first.start()
    while not (data_dir / f".{ARCHIVE}.part").exists():
        time.sleep(0.01)
    second.start()
    time.sleep(0.2)
    first.kill()
    faulty.seconds = 0.0
    second.join()
    assert second.exitcode == 0
    assert is_whole(data_dir / NAME, faulty.folder)


def test_who_waited_for_an_archive_does_not_fetch_it_again(faulty):
    faulty.seconds = 0.2
    with ThreadPoolExecutor(2) as threads:
        assert len(set(threads.map(d2l.download, [NAME, NAME]))) == 1
    assert len(faulty.requests) == 1
