"""Fetching from a server that misbehaves in every way that servers do."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from harness.data import download, install
from harness.data.base import Remote
from harness.data.mnist import MNIST
from harness.errors import DataError, HarnessError
from harness.registry import datasets

CONTENT = os.urandom(300_000)
PAGE = b"<!DOCTYPE html><html><head><title>Sign in  to go on</title></head></html>" + b" " * 1000


class Handler(BaseHTTPRequestHandler):
    """Behaves by the path asked for; ``server.log`` holds (path, Range) of every request."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.log.append((self.path, asked))
        behaviour, _, name = self.path[1:].partition("/")
        getattr(self, f"do_{behaviour}")(
            self.server.files.get(name, CONTENT), int(asked[6:-1]) if asked else 0
        )

    def send(self, body, status=200, *, length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def do_good(self, body, start):
        if start >= len(body):
            return self.send(b"", 416)
        status, extra = (
            (206, {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"})
            if start
            else (200, {})
        )
        return self.send(body[start:], status, **extra)

    def do_truncated(self, body, start):
        """At most 100,000 bytes a connection, though all are promised."""
        self.send(
            body[start : start + 100_000],
            206 if start else 200,
            length=len(body) - start,
            Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}",
        )

    def do_norange(self, body, start):
        """Always from the beginning; the first two connections end early."""
        self.send(body[: 100_000 if len(self.server.log) < 3 else None], length=len(body))

    def do_elsewhere(self, body, start):
        """The first time cut; then a range that was not asked for; then all."""
        if start:
            return self.send(body[5:], 206, Content_Range=f"bytes 5-{len(body) - 1}/{len(body)}")
        return self.send(body[: 100_000 if len(self.server.log) == 1 else None], length=len(body))

    def do_wrong(self, body, start):
        self.send(bytes(len(body)))

    def do_long(self, body, start):
        self.send(body + b"more")

    def do_short(self, body, start):
        """Honest about being shorter than the file."""
        self.send(body[start : len(body) - 7])

    def do_page(self, body, start):
        self.send(PAGE, Content_Type="text/html; charset=utf-8")

    def do_disguised(self, body, start):
        self.send(PAGE, Content_Type="application/zip")

    def do_moved(self, body, start):
        self.send(b"", 302, Location=f"/good/{self.path.rpartition('/')[2]}")

    def do_circle(self, body, start):
        self.send(b"", 302, Location=self.path)

    def do_file(self, body, start):
        self.send(b"", 302, Location="file:///etc/passwd")

    def do_ftp(self, body, start):
        self.send(b"", 302, Location="ftp://127.0.0.1/file.bin")

    def do_gone(self, body, start):
        self.send(b"", 404)

    def do_busy(self, body, start):
        if len(self.server.log) < 3:
            return self.send(b"", 503)
        return self.do_good(body, start)

    def do_broken(self, body, start):
        self.send(b"", 500)

    def do_silent(self, body, start):
        self.server.released.wait(5)
        self.close_connection = True

    def do_stalled(self, body, start):
        self.send(body[:1000], length=len(body))
        self.wfile.flush()
        self.server.released.wait(5)

    def do_closed(self, body, start):
        self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.log, server.files, server.released = [], {}, threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def fetch(server, tmp_path):
    def call(behaviour, content=CONTENT, **options):
        remote = Remote(
            f"{server.url}/{behaviour}/file.bin", hashlib.sha256(content).hexdigest(), len(content)
        )
        return download.fetch(
            remote, tmp_path, by_hand="get it by hand", pause=0, **({"timeout": 5} | options)
        )

    return call


@pytest.mark.parametrize(
    "behaviour", ["good", "truncated", "norange", "elsewhere", "moved", "busy"]
)
def test_the_file_arrives_whole(fetch, tmp_path, behaviour):
    seen = []
    path = fetch(behaviour, progress=lambda *state: seen.append(state))
    assert path.read_bytes() == CONTENT and os.listdir(tmp_path) == ["file.bin"]
    assert seen[-1] == ("file.bin", len(CONTENT), len(CONTENT))


def test_a_truncated_file_is_gone_on_with_where_it_ended(fetch, server):
    fetch("truncated")
    assert [asked for _, asked in server.log] == [None, "bytes=100000-", "bytes=200000-"]


def test_a_later_call_goes_on(fetch, server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:250_000])
    assert fetch("good").read_bytes() == CONTENT
    assert [asked for _, asked in server.log] == ["bytes=250000-"]


def test_what_is_there_is_not_fetched_again(fetch, server):
    fetch("good")
    fetch("good")
    assert len(server.log) == 1


@pytest.mark.parametrize(
    "behaviour, word",
    [
        ("wrong", "not the expected file: sha256"),
        ("long", "sends more than the 300000 bytes"),
        ("short", "of 300000 bytes were fetched"),
        ("page", r"a web page instead of the file \('Sign in to go on'\)"),
        ("disguised", "a web page instead of the file"),
        ("circle", "redirects in a circle"),
        ("file", "redirects to 'file:///etc/passwd'"),
        ("ftp", "redirects to .ftp:"),
        ("gone", "the server answers 404"),
        ("broken", "the server answers 500"),
        ("closed", "cannot be fetched"),
    ],
)
def test_what_cannot_be_had_is_one_clear_error(fetch, tmp_path, behaviour, word):
    with pytest.raises(DataError, match=word) as caught:
        fetch(behaviour)
    assert behaviour in caught.value.where and not (tmp_path / "file.bin").exists()


@pytest.mark.parametrize("behaviour", ["silent", "stalled"])
def test_a_server_that_says_nothing_more_counts_as_lost(fetch, monkeypatch, behaviour):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    with pytest.raises(DataError, match="timed out"):
        fetch(behaviour, timeout=0.2)


def test_no_server_at_all(tmp_path):
    remote = Remote("http://127.0.0.1:9/file.bin", "0", 5)
    with pytest.raises(DataError, match="refused"):
        download.fetch(remote, tmp_path, pause=0)


def test_a_page_does_not_cost_what_is_here_already(fetch, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:250_000])
    with pytest.raises(DataError, match="web page"):
        fetch("page")
    assert (tmp_path / "file.bin.part").stat().st_size == 250_000


def test_wrong_bytes_are_not_gone_on_with(fetch, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(bytes(250_000))
    with pytest.raises(DataError, match="not the expected file"):
        fetch("good")
    assert not list(tmp_path.iterdir()) and fetch("good").read_bytes() == CONTENT


def test_a_full_disk_is_said_before_and_during(fetch, tmp_path, monkeypatch):
    usage = download.shutil.disk_usage
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(HarnessError, match="needs 300000 bytes more, and 1000 are free"):
        fetch("good")
    monkeypatch.setattr(download.shutil, "disk_usage", usage)
    (tmp_path / "file.bin.part").symlink_to("/dev/full")
    monkeypatch.setattr(download, "_size", lambda _: 0)
    with pytest.raises(HarnessError, match="No space left on device"):
        fetch("good")


@pytest.fixture
def zips(server, monkeypatch):
    """cifar-fs whose remote is a zip that the server has."""

    def serve(behaviour, content, sha256=None):
        server.files["photos.zip"] = content
        remote = Remote(
            f"{server.url}/{behaviour}/photos.zip",
            sha256 or hashlib.sha256(content).hexdigest(),
            len(content),
        )
        monkeypatch.setattr(datasets["cifar-fs"], "remotes", (remote,))
        monkeypatch.setattr(download, "PAUSE_S", 0)

    return serve


def zipped(tmp_path, members):
    with zipfile.ZipFile(tmp_path / "made.zip", "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in members.items():
            out.writestr(name, content)
    return (tmp_path / "made.zip").read_bytes()


def installed(root):
    return sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    )


def test_get_installs_what_is_sound_and_once(zips, server, tmp_path, unchecked):
    zips("truncated", zipped(tmp_path, {"dolphin/1.png": os.urandom(150_000)}))
    root = tmp_path / "root"
    assert install.get("cifar-fs", root) == [root / "cifar-fs" / "photos.zip"]
    assert installed(root) == ["cifar-fs/photos.zip"]
    asked = len(server.log)
    assert install.get("cifar-fs", root) == [] and len(server.log) == asked


@pytest.mark.parametrize(
    "members, word",
    [
        ({"dolphin/1.png": b"x", "../../evil.png": b"x"}, "leads out of the archive"),
        ({"dolphin/1.png": bytes(30 << 20)}, "more is packed into it"),
        ({"readme": b"x"}, "no file of cifar-fs found"),
    ],
)
def test_get_installs_nothing_of_a_hostile_archive(zips, tmp_path, members, word):
    zips("good", zipped(tmp_path, members))
    root = tmp_path / "root"
    with pytest.raises(DataError, match=word):
        install.get("cifar-fs", root)
    assert not (root / "cifar-fs").exists() and not (tmp_path / "evil.png").exists()


def test_get_says_a_wrong_checksum_before_opening(zips, tmp_path, monkeypatch):
    zips("good", b"no zip at all", "0" * 64)
    monkeypatch.setattr(datasets["cifar-fs"], "found_in", lambda _: pytest.fail("it was opened"))
    with pytest.raises(DataError, match="not the expected file"):
        install.get("cifar-fs", tmp_path / "root")
    assert installed(tmp_path / "root") == []


def test_get_needs_a_source_and_a_place(tmp_path):
    for name, root, word in (
        ("digits", tmp_path, "embedded"),
        ("mini-imagenet", tmp_path, "no source"),
        ("mnist", None, "no data root"),
    ):
        with pytest.raises(DataError, match=word):
            install.get(name, root)


def test_two_processes_fetch_once(server, tmp_path):
    server.files["photos.zip"] = zipped(tmp_path, {"dolphin/1.png": os.urandom(250_000)})
    code = f"""
import sys
from pathlib import Path
from harness.data import install
from harness.data.base import Remote
from harness.registry import datasets
install.check_whole = lambda *_: ""
datasets["cifar-fs"].remotes = (Remote("{server.url}/truncated/photos.zip",
    "{hashlib.sha256(server.files["photos.zip"]).hexdigest()}", {len(server.files["photos.zip"])}),)
print(len(install.get("cifar-fs", Path(sys.argv[1]))))
"""
    (tmp_path / "get.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "no_proxy": "127.0.0.1"}
    runs = [
        subprocess.Popen(
            [sys.executable, tmp_path / "get.py", tmp_path / "root"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(3)
    ]
    assert Counter(run.communicate()[0].strip() for run in runs) == {"1": 1, "0": 2}
    assert installed(tmp_path / "root") == ["cifar-fs/photos.zip"]
    assert [asked for _, asked in server.log].count(None) == 1


def test_every_known_source_is_complete():
    for name in datasets:
        for remote in datasets[name].remotes:
            assert remote.url.startswith("http") and len(remote.sha256) == 64 and remote.size > 1000
    assert len({remote.name for remote in MNIST.remotes}) == 4
