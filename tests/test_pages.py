"""The report and the live page: their numbers are the tables', in a browser too."""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_results import confirm_runs, made_epochs, made_trial

from srsgd_ray import Arm, Study, analysis
from srsgd_ray.cli import main
from srsgd_ray.pages import Watch, study_data, write_report
from srsgd_ray.pages.live import held, live
from srsgd_ray.pages.page import as_script
from srsgd_ray.results import Record, arrow_schema, columns_to_plain, read_record, read_trials
from srsgd_ray.results.remaining import remaining

SPACE = json.dumps(
    {
        "lr": {"low": 0.001, "high": 1.0, "log": True, "step": None},
        "restart_f1": {"low": 2, "high": 64, "log": True, "step": 1},
    }
)
NASTY = "</script><b>a</b> & $x$"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of two arms, with a trial of each state."""
    rows = [
        made_trial(
            "srsgd", n, val_error=5.0 - n, lr=10.0 ** (-n / 3), restart_f1=2 + n, epochs_done=3,
            search_space=SPACE,
        )
        for n in range(9)
    ]  # fmt: skip
    rows += [
        made_trial("srsgd", 9, "diverged", reason=NASTY, epochs_done=1, search_space=SPACE),
        made_trial("srsgd", 10, "pruned", val_error=9.0, epochs_done=1, search_space=SPACE),
    ]
    rows += [made_trial("sgd", n, val_error=4.0 + n, lr=0.1 + n, epochs_done=3) for n in range(3)]
    runs = confirm_runs("srsgd", [2.0, 2.5, 1.5]) + confirm_runs("sgd", [3.0, 3.25, 2.75])
    found: Path = tmp_path_factory.mktemp("study")
    tables = {"trials": rows + runs, "epochs": made_epochs(runs)}
    for name, made in tables.items():
        table = pa.Table.from_pylist(made, schema=arrow_schema(name))
        pq.write_table(table, found / f"{name}.parquet")
    return found


def test_every_number_is_one_of_the_tables(folder: Path) -> None:
    data, trials = study_data(folder), read_trials(folder)
    shown = pd.DataFrame(data["trials"]["rows"]).set_index("trial")
    for name in ("val_error", "test_error", "epochs_done", "lr"):
        told = shown[name].astype(float)
        assert told.equals(trials.set_index("trial")[name].astype(float).loc[shown.index])
    assert len(shown) == len(trials)
    found = analysis.confirmation(trials, analysis.baselines(trials))
    assert data["verdicts"] == [c.verdict for c in found.comparisons]
    by_arm = {row["arm"]: row for row in data["confirmation"]["arms"]}
    for arm in found.arms:
        assert by_arm[arm.arm]["mean"] == arm.estimate.mean
        assert by_arm[arm.arm]["low"] == arm.estimate.low
    row = data["confirmation"]["differences"][0]
    assert row["p"] == found.comparisons[0].p_holm
    assert row["over seeds, from"] == found.comparisons[0].estimate.low
    best = data["search"]["best_so_far"]["rows"]
    assert [row["best"] for row in best if row["arm"] == "sgd"] == [4.0, 4.0, 4.0]
    assert data["search"]["knobs"]["lr"] is True  # its range is a log one
    json.dumps(data, allow_nan=False)


def test_the_knob_that_the_metric_follows_is_the_important_one(folder: Path) -> None:
    shares = {row["knob"]: row["share"] for row in study_data(folder)["search"]["importance"]}
    assert set(shares) == {"lr", "restart_f1"}
    assert sum(shares.values()) == pytest.approx(1)


def test_text_of_a_user_cannot_end_the_script() -> None:
    text = as_script({"name": NASTY})
    assert "<" not in text
    assert json.loads(text) == {"name": NASTY}


def test_report_is_written_or_refused_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(folder), "--out", str(tmp_path / "r.html")]) == 0
    page = (tmp_path / "r.html").read_text()
    assert "src=" not in page.split("<script>")[0]  # nothing is fetched
    (tmp_path / "taken").touch()
    for words, said in (
        ([str(tmp_path / "none")], "no results: expected"),
        ([str(folder), "--out", str(tmp_path / "taken" / "r.html")], "cannot be"),
        ([str(folder), str(folder), "--out", "r.html"], "the page of one study, but got 2"),
    ):
        capsys.readouterr()
        assert main(["report", *words]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.splitlines()) == 1


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Record]:
    """The record of a study that runs: two trials of two epochs ended, one after its first."""
    study = Study(
        name="mine", question="Is it?", trainable="toy:toy", baseline="a", trials=2,
        confirm_seeds=0,
        arms=(Arm("a", fixed={"epochs": 2}), Arm("b", fixed={"epochs": 2})),
    )  # fmt: skip
    header = {"study": "mine", "id": "1", "spec": study.check().to_dict()}
    plain = columns_to_plain(study.columns())
    record = Record.create(tmp_path / "mine", {**header, "columns": plain})
    record.session(commit="c")
    for number, arm in enumerate("ab"):
        trial = f"search-{arm}-000"
        record.begin(trial, "search", arm, 0, study.plain(arm, {}))
        for epoch in (1, 2):
            record.epoch(trial, _row(epoch, 4.0 - epoch))
        state = ("complete", "failed")[number]
        record.end(trial, state, "first line\nlast line" if number else None)
    record.begin("search-a-001", "search", "a", 1, study.plain("a", {}))
    record.epoch("search-a-001", _row(1, 2.5))
    yield record
    record.close()


def _row(epoch: int, value: float) -> dict[str, Any]:
    return {"epoch": epoch, "score": value, "time": time.time(), "train_seconds": 1.0}


def test_what_runs_and_what_is_left_is_told_from_the_record(begun: Record) -> None:
    now = live(begun.folder, read_record(begun.folder))
    assert now["running"]
    assert now["counts"] == {"complete": 1, "failed": 1, "running": 1}
    assert (now["planned"], now["ended"], now["done"], now["epochs"]) == (4, 2, 5, 8)
    assert [(t["trial"], t["epoch"], t["epochs"]) for t in now["trials"]] == [
        ("search-a-001", 1, 2)
    ]
    assert now["seconds_left"] == remaining(read_record(begun.folder), now["at"]).seconds
    assert [f["reason"] for f in now["failures"]] == ["last line"]
    assert now["log"].splitlines()[-1].endswith("search-a-001 begins: arm a, search, seed 0")
    begun.close()
    after = live(begun.folder, read_record(begun.folder))
    assert not after["running"]
    assert after["trials"] == []


def test_asking_for_a_lock_does_not_take_it(begun: Record) -> None:
    assert held(begun.folder / "record.jsonl")
    assert not held(begun.folder / "none")


@pytest.fixture
def serve() -> Iterator[Callable[..., Watch]]:
    servers: list[Watch] = []

    def started(*args: Any, **options: Any) -> Watch:
        server = Watch(*args, **options)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        found: str = answer.read().decode()
    return found


def test_the_live_page_follows_the_record(begun: Record, serve: Callable[..., Watch]) -> None:
    server = serve(begun.folder.parent)
    assert "<title>srsgd-ray</title>" in _get(server.url)
    first = json.loads(_get(server.url + "data.json"))
    assert [(row["study"], row["done"]) for row in first["studies"]] == [("mine", 5)]
    assert first["live"]["done"] == 5
    seen = f"data.json?study=mine&seen={urllib.parse.quote(first['version'])}"
    same = json.loads(_get(server.url + seen))
    assert "trials" not in same and same["live"]["done"] == 5  # nothing is sent twice
    begun.epoch("search-a-001", _row(2, 0.25))
    second = json.loads(_get(server.url + seen))
    assert second["live"]["done"] == 6
    rows = {row["trial"]: row for row in second["trials"]["rows"]}
    assert rows["search-a-001"]["score"] == 0.25
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _get(server.url + "record.jsonl")


def test_studies_that_are_damaged_or_gone_are_said_and_the_others_shown(
    begun: Record, serve: Callable[..., Watch]
) -> None:
    results = begun.folder.parent
    for name in ("bad", "gone", "torn"):
        shutil.copytree(begun.folder, results / name)
    (results / "bad" / "record.jsonl").write_bytes(b'{"event": "study"\n{}\n')
    with (results / "torn" / "record.jsonl").open("ab") as file:
        file.write(b'{"event": "epoch", "at": 1')
    server = serve(results)
    found = json.loads(_get(server.url + "data.json?study=torn"))
    assert found["live"]["done"] == 5
    rows = {row["study"]: row for row in found["studies"]}
    assert "damaged" in rows["bad"]["unread"]
    assert "cannot be read" in json.loads(_get(server.url + "data.json?study=bad"))["waiting"]
    shutil.rmtree(results / "gone")
    after = json.loads(_get(server.url + "data.json?study=gone"))
    assert after["study"] != "gone" and "gone" not in {row["study"] for row in after["studies"]}
    for folder in results.iterdir():
        shutil.rmtree(folder)
    assert "No study in" in json.loads(_get(server.url + "data.json"))["waiting"]


def test_other_machines_need_the_token(
    begun: Record, serve: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Loopback stands for an address that others reach: no other one is opened by a test.
    monkeypatch.setattr("srsgd_ray.pages.server.LOOPBACK", ())
    server = serve(begun.folder)
    assert server.token
    bare = server.url.partition("?")[0]
    for url in (bare, bare + "data.json", bare + "data.json?token=wrong"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            _get(url)
    assert json.loads(_get(f"{bare}data.json?token={server.token}"))["study"] == "mine"


def test_a_watch_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a results folder, but"):
        Watch(tmp_path / "none")
    with pytest.raises(ValueError, match=r"65535. Choose another --port"):
        Watch(tmp_path, port=70000)


CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's packages chromium and chromium-driver"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def _text(browser: Any, place: str) -> str:
    found: str = browser.find_element("css selector", place).text
    return found


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def columns_of_numbers(trials: pd.DataFrame) -> list[str]:
    return [str(n) for n in trials.select_dtypes("number") if trials[n].notna().any()]


def _cells(browser: Any, column: str, what: str = "innerText") -> list[str]:
    """A column of the trials' table as the page shows it; empty if it shows none of that name."""
    script = """
        const heads = [...document.querySelectorAll('#trials-table th')].map(h => h.innerText);
        const at = heads.findIndex(head => head.replace(/ [^ ]$/, '') === arguments[0]);
        return [...document.querySelectorAll('#trials-table tbody tr')]
            .filter(row => at >= 0).map(row => row.cells[at][arguments[1]]);"""
    found: list[str] = browser.execute_script(script, column, what)
    return found


@needs_browser
def test_the_report_in_a_browser(folder: Path, browser: Any, tmp_path: Path) -> None:
    browser.get(f"file://{write_report(folder, tmp_path / 'r.html')}")
    trials = read_trials(folder)
    verdict = analysis.confirmation(trials, "sgd").comparisons[0].verdict
    assert _text(browser, "#verdicts") == verdict
    shown = dict(zip(_cells(browser, "trial"), _cells(browser, "val error"), strict=True))
    told = {row["trial"]: row["val_error"] for _, row in trials.iterrows()}
    assert shown == {n: "-" if pd.isna(v) else f"{v:.5g}" for n, v in told.items()}
    assert NASTY in _cells(browser, "reason")
    for name in columns_of_numbers(trials):
        head = name.replace("_", " ")
        if not (whole := _cells(browser, head, "title")):
            continue
        found = dict(zip(_cells(browser, "trial"), whole, strict=True))
        for trial, value in trials.set_index("trial")[name].astype(float).items():
            none = pd.isna(value) or (name.startswith("restart_") and "-sgd-" in str(trial))
            assert found[trial] == "" if none else float(found[trial]) == value, name
    best = browser.find_element("css selector", "#best-table tbody").text
    assert best == "srsgd search-srsgd-008 -3\nsgd search-sgd-000 4"
    estimates = analysis.confirmation(trials, "sgd").arms
    rows = browser.find_elements("css selector", "#confirmation-table tbody tr")
    for row, arm in zip(rows, estimates, strict=True):
        titles = [cell.get_attribute("title") for cell in row.find_elements("tag name", "td")]
        for value in (arm.estimate.mean, arm.estimate.std, arm.estimate.low, arm.estimate.high):
            assert value in [float(title) for title in titles if title]
    assert "look 1 at 96 %" in _text(browser, "#levels")
    browser.find_element("css selector", "#trials-table tbody tr").click()
    assert _text(browser, "#trial-name") == _cells(browser, "trial")[0]

    def click(name: str) -> None:
        for button in browser.find_elements("css selector", "#trials-table th button"):
            if button.text.startswith(name):
                button.click()
                return

    click("val error")
    numbers = [float(v) for v in _cells(browser, "val error") if v != "-"]
    assert numbers == sorted(numbers)
    click("val error")
    numbers = [float(v) for v in _cells(browser, "val error") if v != "-"]
    assert numbers == sorted(numbers, reverse=True)
    browser.find_element("css selector", "#state-filter option[value=diverged]").click()
    assert _cells(browser, "trial") == ["search-srsgd-009"]
    drawn = "return document.querySelectorAll('#confirmation-plot .point').length"
    assert browser.execute_script(drawn) == 6 + 2  # runs, and the mean of each arm
    width = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    size = {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert _until(
        lambda: browser.execute_script(width) == 0, 10
    )  # a phone need not be scrolled sideways
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert browser.get_log("browser") == []


@needs_browser
def test_the_live_page_in_a_browser(
    begun: Record, serve: Callable[..., Watch], browser: Any
) -> None:
    browser.get(serve(begun.folder.parent).url)
    assert _until(lambda: "5 of 8 epochs" in _text(browser, "#state"), 20)
    assert "search-a-001" in _text(browser, "#slots")
    begun.epoch("search-a-001", _row(2, 0.125))
    reported = time.monotonic()
    assert _until(lambda: "6 of 8 epochs" in _text(browser, "#state"), 20)
    assert time.monotonic() - reported < 3
    assert _until(lambda: "0.125" in _cells(browser, "score"), 20)  # all of it is drawn less often
    begun.end("search-a-001", "diverged", "first\nits loss is 1e9")
    assert _until(lambda: "its loss is 1e9" in _text(browser, "#failures"), 20)
    assert _until(lambda: "search 3 4" in _text(browser, "#phases tbody"), 20)
    assert browser.get_log("browser") == []
