"""Stores of every kind: in a folder, in memory, and in a bucket of an S3 server if installed."""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path

import pytest

from harness.storage.store import Store

sys.path.append(
    str(Path(__file__).parent)
)  # for ``made_up``, which importlib mode does not find by itself


@pytest.fixture(scope="session")
def s3():
    """URL of a bucket on a local S3 server: `pip install s3fs 'moto[server]'`."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 's3fs'")
    server = pytest.importorskip(
        "moto.server", reason="no object server: pip install 'moto[server]'"
    )
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    set_ = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {key: os.environ.get(key) for key in set_}
    os.environ.update(set_)
    import fsspec

    fsspec.filesystem("s3").mkdir("store-tests")
    yield "s3://store-tests"
    for key, value in before.items():
        os.environ.pop(key) if value is None else os.environ.update({key: value})
    running.stop()


@pytest.fixture(params=["folder", "memory", "s3"])
def root(request, tmp_path) -> str:
    """The root of a new store, of each kind."""
    if request.param == "folder":
        return str(tmp_path / "store")
    where = request.getfixturevalue("s3") if request.param == "s3" else "memory://tests"
    return f"{where}/{uuid.uuid4().hex}"


@pytest.fixture
def store(root) -> Store:
    """An empty store of each kind."""
    store = Store(root)
    store.prepare()
    return store


@pytest.fixture
def local(tmp_path) -> Store:
    """An empty store in a folder."""
    store = Store(tmp_path / "store")
    store.prepare()
    return store
