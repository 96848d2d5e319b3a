"""Fetching one file over http: resumed where it stopped, checked before anybody opens it."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.data.base import Remote
from harness.errors import DataError, StoreError
from harness.files import make_folder

CHUNK = 1 << 16
TIMEOUT_S = 30.0
"""Without a byte for that long, a connection counts as lost."""
ATTEMPTS, PAUSE_S = 5, 1.0
"""Connections in a row that bring nothing new; the pause after the first, doubled each time."""
PAGE = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head)", re.I)


def fetch(
    remote: Remote,
    folder: Path,
    progress: Callable[[str, int, int], None] | None = None,
    *,
    by_hand: str = "",
    pause: float = PAUSE_S,
    timeout: float = TIMEOUT_S,
) -> Path:
    """Fetch a file into a folder; what an earlier call left there is gone on with.

    Args:
        progress: called with (file, bytes that are here, bytes in all).
        by_hand: what a user can do instead; the hint of errors.
        pause: seconds before the second attempt.
        timeout: seconds without a byte after which a connection counts as lost.

    Raises:
        DataError: the server refuses, sends a web page or other bytes, or the connection fails again and again.
        StoreError: no room, or a folder that cannot be written.
    """
    make_folder(folder)
    target, part = folder / remote.name, folder / f"{remote.name}.part"
    if target.is_file():
        return target
    report = progress or (lambda *_: None)
    in_vain, most = 0, _size(part)
    while (have := _size(part)) < remote.size:
        try:
            _go_on(remote, part, have, report, timeout, by_hand)
        except _Lost as lost:
            in_vain = 0 if _size(part) > most else in_vain + 1
            most = max(most, _size(part))
            if in_vain == ATTEMPTS:
                raise DataError(
                    f"cannot be fetched: {lost}; {_size(part)} of {remote.size} bytes are here",
                    where=remote.url,
                    hint=f"run it again to go on from there. Or {by_hand}",
                ) from lost
            time.sleep(pause * 2**in_vain)
    _check(remote, part, by_hand)
    os.replace(part, target)
    return target


class _Lost(Exception):
    """A connection that ended before the file did: worth another try."""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _go_on(
    remote: Remote,
    part: Path,
    have: int,
    report: Callable[[str, int, int], None],
    timeout: float,
    by_hand: str,
) -> None:
    """One connection: append what it brings to ``part``."""
    if (free := shutil.disk_usage(part.parent).free) < remote.size - have:
        raise StoreError(
            f"{remote.name} needs {remote.size - have} bytes more, and {free} are free",
            where=str(part.parent),
            hint="free some space and run it again: it goes on where it stopped",
        )
    with _opened(remote, part, have, timeout, by_hand) as response:
        first = _read(response)
        if "text/html" in response.headers.get("Content-Type", "") or PAGE.match(first):
            raise DataError(
                f"the server sent a web page in place of the file{_title(first)}",
                where=remote.url,
                hint=by_hand,
            )
        begins = re.match(rf"bytes {have}-", response.headers.get("Content-Range", ""))
        if response.status == 206 and not begins:
            part.unlink(missing_ok=True)
            raise _Lost("the server went on at another place than asked for")
        if not first:
            raise _Lost(f"the connection ended after {have} of {remote.size} bytes")
        if response.status == 200:  # it does not resume: from the beginning
            have = 0
        try:
            with part.open("ab" if have else "wb") as file:
                while first:
                    file.write(first)
                    have += len(first)
                    if have > remote.size:
                        break
                    report(remote.name, have, remote.size)
                    first = _read(response)
        except OSError as error:
            raise StoreError(
                f"cannot write it: {error.strerror}",
                where=str(part),
                hint="free some space and run it again",
            ) from error
    if have > remote.size:
        part.unlink(missing_ok=True)
        raise DataError(
            f"the server sends more than the {remote.size} bytes that the file has",
            where=remote.url,
            hint=by_hand,
        )
    if have < remote.size:
        raise _Lost(f"the connection ended after {have} of {remote.size} bytes")


def _opened(remote: Remote, part: Path, have: int, timeout: float, by_hand: str) -> Any:
    headers = {"User-Agent": "bioharness", "Accept-Encoding": "identity"} | (
        {"Range": f"bytes={have}-"} if have else {}
    )
    try:
        return urllib.request.build_opener(_Redirects).open(
            urllib.request.Request(remote.url, headers=headers), timeout=timeout
        )
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            part.unlink(missing_ok=True)
            raise _Lost("the server does not have as much of the file") from error
        if error.code >= 500 or error.code == 429:
            raise _Lost(f"the server answers {error.code} {error.reason}") from error
        message = f"the server answers {error.code} {error.reason}"
        if 300 < error.code < 400:  # urllib follows those that lead on, over http or https
            where = (
                "in a circle"
                if "infinite loop" in str(error.reason)
                else f"to {error.headers.get('Location')!r:.100}"
            )
            message = f"the server redirects {where}"
        raise DataError(message, where=remote.url, hint=by_hand) from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # URLError is an OSError
        raise _Lost(_reason(error)) from error


def _read(response: Any) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Lost(_reason(error)) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects to http and https only."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if not newurl.startswith(("http://", "https://")):
            raise urllib.error.HTTPError(req.full_url, code, "not over http", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check(remote: Remote, part: Path, by_hand: str) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != remote.sha256:
        part.unlink()
        raise DataError(
            f"not the expected file: sha256 {found[:16]}..., expected {remote.sha256[:16]}...; it was not opened and "
            "is gone",
            where=remote.url,
            hint=f"run it again; if it stays so, {by_hand}",
        )


def _title(page: bytes) -> str:
    title = re.search(rb"<title[^>]*>([^<]{1,200})", page, re.I)
    return f" ({' '.join(title[1].decode('utf-8', 'replace').split())[:80]!r})" if title else ""


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason) or type(reason).__name__
