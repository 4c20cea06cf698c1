"""A bucket of moto's on this machine, behind a proxy that fails or is slow as it is told."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any, ClassVar

import pyarrow.fs as pafs
from moto.server import ThreadedMotoServer

NAME = "checkpoints"
BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Bucket:
    """The bucket; it answers while the context lasts."""

    KEYS: ClassVar = {
        "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip

    def __enter__(self) -> Bucket:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it prints each request
        self._server = ThreadedMotoServer(port=0, verbose=False)
        self._server.start()
        self._host, self._port = self._server.get_host_and_port()
        self._how, self._rate = "", 0.0
        self._open: set[asyncio.StreamWriter] = set()
        self._loop, self._one = asyncio.new_event_loop(), asyncio.Lock()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._listening = self._loop.run_until_complete(listening)
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.files().create_dir(NAME)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._server.stop()

    def uri(self, name: str) -> str:
        """Where a study finds it."""
        port = self._listening.sockets[0].getsockname()[1]
        return f"s3://{NAME}/{name}?region=eu-west-1&scheme=http&endpoint_override=127.0.0.1:{port}"

    def fail(self, how: str, rate: float, lasts: float = 0.0) -> None:
        """From now on, or for so many seconds, answer 503, be ``away`` or as slow (bytes/s)."""

        def turn(how: str, rate: float) -> None:
            self._how, self._rate = how, rate
            for writer in self._open:
                writer.transport.abort()

        self._loop.call_soon_threadsafe(turn, how, rate)
        if lasts:
            threading.Timer(lasts, self.fail, ["", 0.0]).start()

    def files(self) -> Any:
        """Its file system, past the proxy."""
        server = f"{self._host}:{self._port}"
        return pafs.S3FileSystem(
            access_key="any", secret_key="any", scheme="http", endpoint_override=server,
            allow_bucket_creation=True,
        )  # fmt: skip

    def objects(self, name: str) -> list[str]:
        """What lies there of a study."""
        place = pafs.FileSelector(f"{NAME}/{name}", recursive=True, allow_not_found=True)
        found = self.files().get_file_info(place)
        return [each.path for each in found if each.type == pafs.FileType.File]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._how == "503":
                await reader.readuntil(b"\r\n\r\n")
                writer.write(BUSY)
                await writer.drain()
            elif not self._how:
                up, down = await asyncio.open_connection(self._host, self._port)
                self._open.add(down)
                ways = [asyncio.ensure_future(self._pump(*way))
                        for way in ((reader, down), (up, writer))]  # fmt: skip
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                down.close()
                self._open.discard(down)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self._open.discard(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 14):
            if self._rate:
                async with self._one:
                    await asyncio.sleep(len(data) / self._rate)
            writer.write(data)
            await writer.drain()
