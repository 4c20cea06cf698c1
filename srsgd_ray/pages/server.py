"""The live page: a study's page that asks for its numbers again and again, on loopback."""

from __future__ import annotations

import hmac
import http.server
import json
import secrets
import threading
import time
import urllib.parse
from http import HTTPStatus
from pathlib import Path
from typing import Any

from srsgd_ray.pages.data import study_data
from srsgd_ray.pages.live import live
from srsgd_ray.pages.page import page
from srsgd_ray.results import RecordError, read_record
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
        self._known: dict[Path, tuple[Any, dict[str, Any]]] = {}
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

    def data(self, name: str) -> dict[str, Any]:
        """What the page shows of a study now; made again only if its record has grown."""
        folders = studies_in(self.path)
        if not folders:
            return {"waiting": f"No study in {self.path} yet.", "studies": []}
        folder = folders.get(name) or max(folders.values(), key=_written)
        with self._making:
            size = (folder / RECORD).stat().st_size
            began = time.monotonic()
            if self._known.get(folder, (None,))[0] != size:
                self._known[folder] = (size, _study(folder))
            found = dict(self._known[folder][1])
        contents = found.pop("contents")
        took = time.monotonic() - began
        now = live(folder, contents)
        return {**found, "live": now, "studies": list(folders), "study": folder.resolve().name,
                "took": took}  # fmt: skip


def _written(folder: Path) -> float:
    return (folder / RECORD).stat().st_mtime


def _study(folder: Path) -> dict[str, Any]:
    contents = read_record(folder)
    try:
        return {**study_data(folder, contents), "contents": contents}
    except RecordError as error:
        return {"waiting": str(error), "contents": contents}


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
            try:
                text = json.dumps(self.server.data(words.get("study", "")), allow_nan=False)
            except (OSError, ValueError) as error:  # a study that was moved away while it was read
                self._send(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}", "plain")
            else:
                self._send(HTTPStatus.OK, text, "json")
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
