"""The live page: a study's page that asks for its numbers again and again, on loopback."""

from __future__ import annotations

import hmac
import http.server
import json
import secrets
import threading
import time
import urllib.parse
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from srsgd_ray.pages.data import study_data
from srsgd_ray.pages.live import live, progress
from srsgd_ray.pages.page import page
from srsgd_ray.results import RecordError, read_record
from srsgd_ray.results.contents import Contents
from srsgd_ray.results.place import held
from srsgd_ray.results.record import FILE_NAME as RECORD

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def studies_in(path: Path) -> dict[str, Path]:
    """The studies of a folder by name: itself, or those in it."""
    if (path / RECORD).is_file():
        return {path.resolve().name: path}
    return {found.parent.name: found.parent for found in sorted(path.glob(f"*/{RECORD}"))}


class Watch(http.server.ThreadingHTTPServer):
    """Serves the page of one study, or of all in a folder.

    Args:
        path: a study's folder, or one with studies in it.
        host: that it listens on; other machines can reach it only if it is not loopback, and then
            need the token of :attr:`url`.
        port: 0 for any that is free.

    Raises:
        ValueError: if there is no study, or the port is taken.
    """

    daemon_threads = True

    def __init__(self, path: Path | str, host: str = "127.0.0.1", port: int = 0) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise ValueError(f"watch needs a results folder, but {path} is none.")
        self.token = "" if host in LOOPBACK else secrets.token_urlsafe(16)
        self._known: dict[Path, _Known] = {}
        self._making = threading.Lock()
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ValueError(
                f"cannot listen on {host}:{port}: {str(error).rstrip('.')}. Choose another "
                f"--port, or 0 for any."
            ) from error

    @property
    def url(self) -> str:
        """Where a browser finds it, with the token if it needs one."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}/" + (f"?token={self.token}" if self.token else "")

    def data(self, name: str = "", seen: str = "") -> dict[str, Any]:
        """What the page shows now: of a study (of the one written last, if none is named).

        Args:
            name: of the study.
            seen: the ``version`` that the page has: what did not change since is left out; ``*``
                leaves it out in any case, for what is live alone is there sooner.

        Returns:
            ``studies`` (how far each one is) and ``study``, ``live`` and the rest of
            :func:`study_data`; ``waiting`` says what there is none of; ``took`` is the CPU time.
        """
        began = time.thread_time()  # not the clock: on busy cores that says little of the cost
        with self._making:
            folders = studies_in(self.path)
            rows = [self._row(found, folder) for found, folder in folders.items()]
            found: dict[str, Any] = {"studies": rows}
            folder = folders.get(name) or max(folders.values(), key=_written, default=None)
            if folder is None:
                return found | {"waiting": f"No study in {self.path} yet."}
            found["study"] = folder.resolve().name
            try:
                known = self._read(folder)
                found |= {"version": f"{folder.resolve().name} {known.size}"}
                if seen not in (found["version"], "*"):
                    found |= known.data()
                found["live"] = live(folder, known.contents)
            except (OSError, RecordError) as error:  # damaged, or deleted while it was read
                found["waiting"] = f"{folder} cannot be read: {error}"
        return found | {"took": time.thread_time() - began}

    def _row(self, name: str, folder: Path) -> dict[str, Any]:
        """How far a study is; that of one that does not run is computed once."""
        try:
            known, running = self._read(folder), held(folder / RECORD)
        except (OSError, RecordError) as error:
            return {"study": name, "unread": str(error)}
        if running or known.row is None or known.row["running"]:
            known.row = progress(folder, known.contents, time.time())
        return {"study": name, **known.row}

    def _read(self, folder: Path) -> _Known:
        """The record of a study; read again only if it has changed."""
        found = (folder / RECORD).stat()
        size = (found.st_ino, found.st_size)
        if folder not in self._known or self._known[folder].size != size:
            self._known[folder] = _Known(folder, size, read_record(folder))
        return self._known[folder]


@dataclass
class _Known:
    """A record as it was read at a size, and what was made of it."""

    folder: Path
    size: tuple[int, int]  # inode and bytes
    contents: Contents
    row: dict[str, Any] | None = None
    _data: dict[str, Any] | None = None

    def data(self) -> dict[str, Any]:
        if self._data is None:
            try:
                self._data = study_data(self.folder, self.contents)
            except RecordError as error:
                self._data = {"waiting": str(error)}
        return self._data


def _written(folder: Path) -> float:
    try:
        return (folder / RECORD).stat().st_mtime
    except OSError:  # it was deleted a moment ago
        return 0.0


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Watch
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = urllib.parse.urlsplit(self.path)
        words = dict(urllib.parse.parse_qsl(asked.query))
        if self.server.token and not hmac.compare_digest(
            words.get("token", "").encode(), self.server.token.encode()
        ):
            self._send(
                HTTPStatus.FORBIDDEN, "A token is needed: open the printed address.", "plain"
            )
        elif asked.path == "/":
            self._send(HTTPStatus.OK, page(None, "srsgd-ray"), "html")
        elif asked.path == "/data.json":
            found = self.server.data(words.get("study", ""), words.get("seen", ""))
            self._send(HTTPStatus.OK, json.dumps(found, allow_nan=False), "json")
        else:
            self._send(HTTPStatus.NOT_FOUND, "No such page.", "plain")

    def _send(self, status: HTTPStatus, text: str, kind: str) -> None:
        body = text.encode()
        family = "application" if kind == "json" else "text"
        self.send_response(status)
        self.send_header("Content-Type", f"{family}/{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not printed."""
