"""Fetching a file over http: interrupted downloads are resumed, and nothing is used unchecked."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.base import Remote
from harness.errors import DataError, StoreError
from harness.files import make_folder

CHUNK = 1 << 16
TIMEOUT_S = 30.0
"""A connection without a byte for that long counts as lost."""
ATTEMPTS = 5
"""Connections in a row without progress after which a download fails."""
PAUSE_S = 1.0
"""Pause after the first of them; it doubles each time."""
PAGE = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head)", re.I)
"""The beginning of a web page, such as a login form sent instead of the file."""

Progress = Callable[[str, int, int], None]
"""Called with (file, bytes fetched so far, size in bytes)."""


def fetch(
    remote: Remote,
    folder: Path,
    progress: Progress | None = None,
    *,
    by_hand: str = "",
    pause: float = PAUSE_S,
    timeout: float = TIMEOUT_S,
) -> Path:
    """Fetch a file into a folder; what an earlier call fetched is kept.

    Args:
        remote: the file.
        folder: created if necessary.
        progress: called after every chunk.
        by_hand: what a user can do instead, as the hint of errors.
        pause: seconds before the second attempt.
        timeout: seconds without a byte after which a connection counts as lost.

    Raises:
        DataError: If the server refuses, sends a web page or other content, or connections keep
            failing.
        StoreError: If the disk is full or the folder cannot be written.
    """
    make_folder(folder)
    target = folder / remote.name
    if target.is_file():
        return target
    part = folder / f"{remote.name}.part"
    download = _Download(remote, part, progress or _no_progress, by_hand, timeout)
    most = _size(part)
    failures = 0
    while _size(part) < remote.size:
        try:
            download.resume(_size(part))
        except _ConnectionLost as lost:
            size = _size(part)
            failures = 0 if size > most else failures + 1
            most = max(most, size)
            if failures == ATTEMPTS:
                raise DataError(
                    f"cannot be fetched: {lost}; {size} of {remote.size} bytes were fetched",
                    where=remote.url,
                    hint=f"run it again to resume. Or {by_hand}",
                ) from lost
            time.sleep(pause * 2**failures)
    _check_content(remote, part, by_hand)
    os.replace(part, target)
    return target


class _ConnectionLost(Exception):
    """A connection failed for a reason that may pass: another attempt makes sense."""


@dataclass(frozen=True)
class _Download:
    """A download in progress.

    Attributes:
        remote: the file.
        part: the bytes fetched so far.
        report: called after every chunk.
        by_hand: what a user can do instead.
        timeout: seconds without a byte after which a connection counts as lost.
    """

    remote: Remote
    part: Path
    report: Progress
    by_hand: str
    timeout: float

    def resume(self, start: int) -> None:
        """Open one connection and append what it sends, from byte ``start`` on.

        Raises:
            _ConnectionLost: If the file is not complete afterwards.
        """
        self._check_space(self.remote.size - start)
        with self._open(start) as response:
            first = self._check_answer(response, start)
            if response.status == 200:
                # The server does not resume: it sends the file from its beginning.
                start = 0
            size = self._append(response, first, start)
        if size > self.remote.size:
            self.part.unlink(missing_ok=True)
            raise self._fault(f"the server sends more than the {self.remote.size} bytes expected")
        if size < self.remote.size:
            raise self._cut_off(size)

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if free < needed:
            raise StoreError(
                f"{self.remote.name} needs {needed} bytes more, and {free} are free",
                where=str(self.part.parent),
                hint="free some space and run it again to resume",
            )

    def _open(self, start: int) -> Any:
        """Send the request; redirects are followed."""
        headers = {"User-Agent": "bioharness", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        opener = urllib.request.build_opener(_HttpRedirects)
        try:
            request = urllib.request.Request(self.remote.url, headers=headers)
            return opener.open(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            error.close()
            raise self._refusal(error) from error
        except (OSError, http.client.HTTPException, ValueError) as error:  # URLError is an OSError
            raise _ConnectionLost(_reason(error)) from error

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        """The error for a status that is not a success."""
        if error.code == 416:
            self.part.unlink(missing_ok=True)
            return _ConnectionLost("the server has fewer bytes of the file than were fetched")
        answer = f"the server answers {error.code} {error.reason}"
        if error.code >= 500 or error.code == 429:
            return _ConnectionLost(answer)
        if 300 < error.code < 400:  # only redirects that cannot be followed arrive here
            if "infinite loop" in str(error.reason):
                answer = "the server redirects in a circle"
            else:
                answer = f"the server redirects to {error.headers.get('Location')!r:.100}"
        return self._fault(answer)

    def _check_answer(self, response: Any, start: int) -> bytes:
        """Check that a response is the rest of the file, and return its first chunk."""
        first = _read(response)
        if "text/html" in response.headers.get("Content-Type", "") or PAGE.match(first):
            raise self._fault(f"the server sent a web page instead of the file{_title(first)}")
        content_range = response.headers.get("Content-Range", "")
        if response.status == 206 and not content_range.startswith(f"bytes {start}-"):
            self.part.unlink(missing_ok=True)
            raise _ConnectionLost("the server resumed at another place than requested")
        if not first:
            raise self._cut_off(start)
        return first

    def _append(self, response: Any, chunk: bytes, start: int) -> int:
        """Write a response to the part from byte ``start`` on, and return the part's new size."""
        size = start
        try:
            with self.part.open("ab" if start else "wb") as file:
                while chunk:
                    file.write(chunk)
                    size += len(chunk)
                    if size > self.remote.size:
                        break
                    self.report(self.remote.name, size, self.remote.size)
                    chunk = _read(response)
        except OSError as error:
            raise StoreError(
                f"cannot be written: {error.strerror}",
                where=str(self.part),
                hint="free some space and run it again",
            ) from error
        return size

    def _cut_off(self, size: int) -> _ConnectionLost:
        return _ConnectionLost(f"the connection ended after {size} of {self.remote.size} bytes")

    def _fault(self, message: str) -> DataError:
        return DataError(message, where=self.remote.url, hint=self.by_hand)


class _HttpRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Refuse other addresses, e.g. of local files."""
        if not newurl.startswith(("http://", "https://")):
            raise urllib.error.HTTPError(req.full_url, code, "not over http", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _no_progress(file: str, fetched: int, size: int) -> None:
    """Report nothing."""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read(response: Any) -> bytes:
    try:
        chunk: bytes = response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _ConnectionLost(_reason(error)) from error
    return chunk


def _check_content(remote: Remote, part: Path, by_hand: str) -> None:
    """Check the hash of a complete download, and delete it if it is wrong."""
    with part.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != remote.sha256:
        part.unlink()
        raise DataError(
            f"not the expected file: sha256 {actual[:16]}..., expected {remote.sha256[:16]}...; "
            "it was deleted unopened",
            where=remote.url,
            hint=f"run it again; if that does not help, {by_hand}",
        )


def _title(page: bytes) -> str:
    """The title of a web page, to be appended to a message."""
    match = re.search(rb"<title[^>]*>([^<]{1,200})", page, re.I)
    if match is None:
        return ""
    words = match[1].decode("utf-8", "replace").split()
    return f" ({' '.join(words)[:80]!r})"


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason) or type(reason).__name__
