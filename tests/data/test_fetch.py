import logging
import re
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pooch
import pytest

from nsm import data
from nsm.data import DataError
from tests.data.idx_files import archive_download, lay_out, packed, single_downloads, small_files, small_set
from tests.data.mirror import broken_off, far_too_much, in_small_chunks, running

FIRST = "train-images-idx3-ubyte.gz"


@pytest.fixture
def mirror(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running() as mirror:
        yield mirror


@pytest.fixture
def known(monkeypatch):
    def known(downloads, *mirrors):
        monkeypatch.setattr("nsm.data.sets.SETS", {"small": small_set(downloads, mirrors)})

    return known


@pytest.fixture
def served(mirror, known):
    """A set of four downloads and its mirrors, one and two; a test spoils what it wants to."""
    downloads, files = single_downloads(small_files())
    known(downloads, mirror.serve("one", files), mirror.serve("two", files))
    return files


def names(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_the_first_mirror_is_enough(served, mirror, tmp_path):
    folder = data.fetch("small", tmp_path)
    assert folder == tmp_path / "Small" / "raw"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == served
    assert mirror.asked == [f"/one/{name}" for name in served]
    assert data.is_present("small", tmp_path)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o644 for path in folder.iterdir())


def test_loading_fetches_what_is_missing(served, tmp_path):
    train = data.load("small", tmp_path, validation=0).train
    assert train.images.numpy().tobytes() == small_files()["train-images-idx3-ubyte"][16:]


def test_files_that_are_there_are_kept(served, mirror, tmp_path):
    folder = tmp_path / "Small" / "raw"
    files = small_files()
    lay_out(folder, {name: data for name, data in files.items() if "labels" in name})
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"the user's own, compressed otherwise")
    data.fetch("small", tmp_path)
    assert mirror.asked == [f"/one/{FIRST}"]
    assert (folder / "t10k-images-idx3-ubyte.gz").read_bytes().startswith(b"the user's own")
    data.fetch("small", tmp_path)
    assert len(mirror.asked) == 1


FAULTS = {
    "HTTP status 404": lambda right: 404,
    "HTTP status 503": lambda right: 503,
    "wrong checksum": lambda right: right[:-1] + bytes([right[-1] ^ 1]),
    "wrong checksum ": lambda right: b"<html>Please log in</html>",
    "wrong checksum  ": lambda right: b"",
    "longer than the file": lambda right: far_too_much,
    "longer than the file ": lambda right: right + b"x",
    "broken off": broken_off,
}


@pytest.mark.parametrize("reason", FAULTS)
def test_the_second_mirror_steps_in(served, mirror, tmp_path, reason):
    mirror.answers[f"/one/{FIRST}"] = FAULTS[reason](served[FIRST])
    folder = data.fetch("small", tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == served
    assert mirror.asked[:2] == [f"/one/{FIRST}", f"/two/{FIRST}"]


@pytest.mark.parametrize("reason", FAULTS)
def test_no_mirror_has_it(served, mirror, tmp_path, reason):
    spoilt = "t10k-images-idx3-ubyte.gz"
    for folder in ("one", "two"):
        mirror.answers[f"/{folder}/{spoilt}"] = FAULTS[reason](served[spoilt])
    problem = re.escape(f"127.0.0.1: {reason.strip()}")
    with pytest.raises(
        DataError, match=rf"Small: {spoilt} cannot be downloaded \({problem}.*; {problem}.*\)"
    ):
        data.fetch("small", tmp_path)
    assert names(tmp_path) == {FIRST, "train-labels-idx1-ubyte.gz"}
    mirror.answers[f"/two/{spoilt}"] = served[spoilt]
    data.fetch("small", tmp_path)
    assert mirror.asked.count(f"/one/{FIRST}") == 1
    assert data.is_present("small", tmp_path)


def test_an_answer_without_a_length(served, mirror, tmp_path):
    mirror.answers[f"/one/{FIRST}"] = in_small_chunks(served[FIRST])
    assert (data.fetch("small", tmp_path) / FIRST).read_bytes() == served[FIRST]
    assert f"/two/{FIRST}" not in mirror.asked


def test_without_network_the_message_says_what_to_put_where(known, tmp_path):
    with running() as gone:
        pass
    downloads, _ = single_downloads(small_files())
    known(downloads, f"{gone.address}/one/{{file}}", f"{gone.address}/two/{{file}}")
    lay_out(tmp_path / "Small" / "raw", {"t10k-labels-idx1-ubyte": b""})
    with pytest.raises(DataError) as caught:
        data.load("small", tmp_path)
    assert str(caught.value) == (
        "Small: train-images-idx3-ubyte.gz cannot be downloaded "
        "(127.0.0.1: no connection; 127.0.0.1: no connection). "
        "Put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz into "
        f"{tmp_path / 'Small' / 'raw'}, from {gone.address}/one/<file> or {gone.address}/two/<file>, "
        "or let NSM_DATA name a folder that holds Small/raw"
    )
    assert names(tmp_path) == {"t10k-labels-idx1-ubyte"}


def test_a_silent_server_is_given_up(served, mirror, tmp_path, monkeypatch):
    monkeypatch.setattr("nsm.data.download._TIMEOUT", (5.0, 0.2))
    done = threading.Event()
    for folder in ("one", "two"):
        mirror.answers[f"/{folder}/{FIRST}"] = lambda _: done.wait(20)
    with pytest.raises(DataError, match=r"127.0.0.1: no answer in time; 127.0.0.1: no answer in time"):
        data.fetch("small", tmp_path)
    done.set()
    assert names(tmp_path) == set()


def test_a_folder_that_cannot_be_written(served, mirror, tmp_path):
    (tmp_path / "Small").write_text("in the way")
    with pytest.raises(
        DataError, match=rf"{tmp_path / 'Small' / 'raw'}: cannot be written \(Not a directory\)"
    ):
        data.fetch("small", tmp_path)
    assert mirror.asked == []


def test_a_folder_of_simulated_recordings_that_cannot_be_written(tmp_path):
    folder = tmp_path / "DvsGestureSimulated"
    folder.write_text("in the way")
    with pytest.raises(DataError, match=rf"{folder}: cannot be written \(File exists\)"):
        data.fetch("dvsgesture-simulated", tmp_path)


def test_an_archive_is_taken_apart_and_removed(known, mirror, tmp_path):
    downloads, files = archive_download(small_files())
    known(downloads, f"{mirror.address}/gone.zip", mirror.serve("two", files))
    folder = data.fetch("small", tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        f"{name}.gz": packed(content) for name, content in small_files().items()
    }
    assert mirror.asked == ["/gone.zip", "/two/gzip.zip"]


def test_an_archive_that_is_there_is_used_and_kept(known, mirror, tmp_path):
    downloads, files = archive_download(small_files())
    known(downloads, mirror.serve("one", files))
    folder = tmp_path / "Small" / "raw"
    lay_out(folder, {"gzip.zip": files["gzip.zip"], "train-labels-idx1-ubyte": b"the user's own"})
    data.fetch("small", tmp_path)
    assert mirror.asked == []
    assert names(tmp_path) == {
        "gzip.zip",
        "train-labels-idx1-ubyte",
        FIRST,
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    }


def test_who_comes_while_it_is_fetched_waits(known, mirror, tmp_path):
    downloads, files = archive_download(small_files())
    known(downloads, mirror.serve("one", files))
    asked, send = threading.Event(), threading.Event()

    def slowly(handler):
        asked.set()
        assert send.wait(20)
        in_small_chunks(files["gzip.zip"])(handler)

    mirror.answers["/one/gzip.zip"] = slowly
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(data.fetch, "small", tmp_path)]
        assert asked.wait(20)
        calls += [pool.submit(data.fetch, "small", tmp_path) for _ in range(3)]
        with pytest.raises(TimeoutError):
            calls[1].result(0.3)
        send.set()
        assert {call.result() for call in calls} == {tmp_path / "Small" / "raw"}
    assert mirror.asked == ["/one/gzip.zip"]
    assert data.is_present("small", tmp_path)


def test_half_an_archive_is_replaced(known, mirror, tmp_path):
    downloads, files = archive_download(small_files())
    known(downloads, mirror.serve("one", files))
    lay_out(tmp_path / "Small" / "raw", {"gzip.zip": files["gzip.zip"][:300]})
    data.fetch("small", tmp_path)
    assert mirror.asked == ["/one/gzip.zip"]
    assert data.is_present("small", tmp_path)


KILLED = """
import sys
from nsm import data
from nsm.data import sets
from nsm.data.sources import Download
from tests.data.idx_files import small_set
root, address, size = sys.argv[1:]
held = tuple(file.name for file in small_set().source.files)
sets.SETS = {"small": small_set([Download("gzip.zip", int(size), "0" * 64, held)], [address])}
data.fetch("small", root)
"""


def test_a_killed_download_leaves_nothing_under_the_final_name(known, mirror, tmp_path):
    downloads, files = archive_download(small_files())
    under_way, done = threading.Event(), threading.Event()

    def slowly(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(downloads[0].size))
        handler.end_headers()
        handler.wfile.write(files["gzip.zip"][:500])
        under_way.set()
        done.wait(60)

    mirror.answers["/one/gzip.zip"] = slowly
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path, f"{mirror.address}/one/gzip.zip", str(downloads[0].size)]
    )
    assert under_way.wait(60)
    process.kill()
    process.wait()
    done.set()
    assert not (tmp_path / "Small" / "raw" / "gzip.zip").exists()
    known(downloads, mirror.serve("one", files))
    assert not data.is_present("small", tmp_path)
    data.fetch("small", tmp_path)
    assert data.is_present("small", tmp_path)


def test_nothing_is_shown_where_there_is_no_terminal(served, tmp_path, capfd, monkeypatch):
    logger = pooch.get_logger()
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    monkeypatch.setattr(logger, "handlers", [*logger.handlers, handler])
    monkeypatch.setattr(logger, "level", logging.INFO)
    data.fetch("small", tmp_path)
    assert capfd.readouterr() == ("", "")
    assert records == []
    assert logger.level == logging.INFO


def test_a_terminal_gets_a_bar(served, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    data.fetch("small", tmp_path)
    shown = capsys.readouterr().err
    for name, content in served.items():
        assert name in shown
        assert f"{len(content)}/{len(content)} bytes" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
