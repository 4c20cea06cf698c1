"""``srsgd-ray report | watch``: a study as a page, and the live page of one that runs."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from srsgd_ray.backends.ends import said_by
from srsgd_ray.typed import typed


def report_verb(given: argparse.Namespace) -> None:
    """Write the page of each study; prints the files written."""
    from srsgd_ray.pages import write_report

    if given.out and len(given.folders) > 1:
        raise ValueError(
            f"--out takes the page of one study, but got {len(given.folders)} studies. Write one "
            f"after the other."
        )
    for folder in given.folders:
        print(write_report(folder, given.out))


def report_written(folder: Path) -> str:
    """Write the study's page; where that fails, the study is finished all the same."""
    from srsgd_ray.pages import write_report

    try:
        return str(write_report(folder))
    except Exception as error:
        again = typed("srsgd-ray", "report", folder)
        return f"No report: {said_by(error)}. Try again with: {again}"


def watch_verb(given: argparse.Namespace) -> None:
    """Serve the live page until Ctrl-C, or until the process that it belongs to has ended."""
    from srsgd_ray.pages import Watch

    os.nice(5)  # a study comes first; with less than that, the page is late on busy cores
    with Watch(given.folder, given.host, given.port) as server:
        print(f"Live page: {server.url}", flush=True)
        if given.of_process is None:
            print("Ctrl-C ends it; a study that runs is not touched.", flush=True)
        else:
            threading.Thread(
                target=_end_with, args=(given.of_process, server.shutdown), daemon=True
            ).start()
        server.serve_forever(poll_interval=0.2)


def _end_with(parent: int, end: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    end()


@contextmanager
def watching(folder: Path) -> Iterator[None]:
    """Serve the live page of a results folder in a process of its own, and print its address."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["watch", str(folder), "--port", "0", "--of-process", str(os.getpid())]
    process = subprocess.Popen(
        [sys.executable, "-m", "srsgd_ray", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C is for the study
    )
    try:
        assert process.stdout is not None
        print(process.stdout.readline().strip(), flush=True)
        yield
    finally:
        process.terminate()
        process.wait()
