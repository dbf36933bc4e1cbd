"""scripts/serve.py on a run that was trained for real: its probabilities, its page in a browser, load, and its end."""

import base64
import csv
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from thaw_lab.serving.load_requests import LoadImage, LoadResult, send_load
from thaw_lab.serving.run_load import load_images, resident_mb

from ..conftest import FinishedRuns
from ..report.browser import Browser, browser, needs_browser


@dataclass(frozen=True)
class Served:
    """A running server, its run's test images with two probabilities each, and some broken ones."""

    address: str
    process: subprocess.Popen
    run_id: str
    paths: list[Path]
    images: list[LoadImage]


@pytest.fixture(scope="module")
def served(finished_runs: FinishedRuns) -> Iterator[Served]:
    """One start of TensorFlow for all tests; the last one ends it."""
    result = finished_runs.finetuned.result()
    process = finished_runs.commands.start("scripts/serve.py", f"model={result['run_id']}", "port=0")
    try:
        lines = [process.stdout.readline() for _ in range(2)]
        assert lines[0] == f"model run {result['run_id']} · 3 classes · openvino in float32\n", process.stderr.read()
        match = re.match(r"serving on (http://127\.0\.0\.1:\d+) · ", lines[1])
        assert match, lines
        line = next(line for line in finished_runs.finetuned.out.splitlines() if line.startswith("result "))
        folder = (finished_runs.commands.folder / line.removeprefix("result ")).parent
        rows = list(csv.DictReader((folder / "report" / "predictions.csv").open(encoding="utf-8")))
        predictions = [expected(row, finished_runs.photos) for row in rows]
        paths = [Path(entry["image"]) for entry in predictions]
        yield Served(match[1], process, result["run_id"], paths, load_images(predictions, broken=0.05))
    finally:
        process.kill()
        process.communicate(timeout=20)


def expected(row: dict[str, str], photos: Path) -> dict:
    known = {row["predicted"]: row["confidence"], row["label"]: row["probability_of_label"]}
    entries = [{"class": name, "probability": float(probability)} for name, probability in known.items()]
    return {"image": str(photos / row["image"]), "predictions": entries}


def test_all_test_images_at_once_get_the_probabilities_of_predictions_csv(served: Served) -> None:
    sound = [image for image in served.images if image.expected]
    files = [("f", (image.name, image.content)) for image in sound]
    results = httpx.post(f"{served.address}/predict", files=files, params={"top": 3}, timeout=60).json()["results"]
    assert len(results) == len(sound) > 5
    for image, entry in zip(sound, results, strict=True):
        got = {row["class"]: row["probability"] for row in entry["predictions"]}
        assert {name: got[name] for name in image.expected} == pytest.approx(image.expected, abs=1e-6)


def test_a_hundred_requests_of_eight_clients_are_answered_as_the_run_was_judged(served: Served) -> None:
    check_load(served, requests=100, clients=8, first=50)


@pytest.mark.slow
def test_a_thousand_requests_of_sixteen_clients_lose_nothing_and_need_no_more_memory(served: Served) -> None:
    check_load(served, requests=1000, clients=16, first=200)


def check_load(served: Served, requests: int, clients: int, first: int) -> None:
    memory: dict[int, float] = {}

    def note(ended: int, _: LoadResult) -> None:
        if ended in (first, requests):
            memory[ended] = resident_mb(served.process.pid)

    result = send_load(served.address, served.images, requests, clients, on_ended=note)
    assert (result.lost, result.wrong, result.answered + result.refused) == (0, [], requests)
    assert result.refused > 0
    assert memory[requests] < memory[first] + 30, memory


@pytest.mark.slow
def test_killed_in_the_middle_of_a_thousand_requests_and_started_again_it_loses_none(
    served: Served, finished_runs: FinishedRuns
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ("scripts/serve.py", f"model={served.run_id}", f"port={port}")
    servers = [finished_runs.commands.start(*command)]

    def kill_once(ended: int, _: LoadResult) -> None:
        if ended == 300:
            servers[0].kill()
            servers.append(finished_runs.commands.start(*command))

    try:
        result = send_load(f"http://127.0.0.1:{port}", served.images, 1000, 16, on_ended=kill_once)
        assert (result.lost, result.wrong, result.answered + result.refused) == (0, [], 1000)
        assert result.retries > 0
        assert servers[0].wait(10) == -signal.SIGKILL
        assert len(servers) == 2
    finally:
        for server in servers:
            server.kill()
            server.communicate(timeout=20)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


DROP = """(([name, type, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, { type }));
  const at = document.querySelector("#drop");
  at.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
})(%s)"""


def drop(tab: Browser, name: str, content: bytes) -> None:
    tab.run(DROP % [name, "image/jpeg", base64.b64encode(content).decode()])


@needs_browser
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_picture_that_is_dropped_on_the_page_shows_classes_and_where_the_network_looks(
    served: Served, tab: Browser, width: int, dark: bool
) -> None:
    tab.open(f"{served.address}/", width, dark)
    content = served.paths[0].read_bytes()
    drop(tab, "<i>apple</i>.jpg", content)
    tab.wait_for("document.querySelector('#heat').naturalWidth === 64")  # of the heat map's picture
    answer = httpx.post(f"{served.address}/predict", content=content, headers={"Content-Type": "image/jpeg"}).json()
    shown = [f"{row['class']} {100 * row['probability']:.1f}\u00a0%" for row in answer["results"][0]["predictions"]]
    assert tab.run("[...document.querySelectorAll('#classes button')].map((row) => row.textContent)") == shown
    assert tab.run("document.querySelector('#picture-name').textContent") == "<i>apple</i>.jpg"
    assert tab.run("document.querySelector('#picture').naturalWidth") == 64
    assert tab.run("document.querySelector('[role=status]').textContent") == shown[0].replace(" ", ": ", 1)
    assert tab.run("document.documentElement.scrollWidth <= innerWidth")
    second = tab.run("document.querySelectorAll('#classes button')[1].dataset.name")
    tab.run("document.querySelectorAll('#classes button')[1].click()")
    tab.wait_for(f"document.querySelector('#heat').alt.endsWith('speak for {second}')")
    assert tab.run("document.querySelector('[aria-pressed=true]').dataset.name") == second
    assert tab.console == []


@needs_browser
def test_the_page_says_why_a_file_is_refused_and_goes_on(served: Served, tab: Browser) -> None:
    tab.open(f"{served.address}/", 390)
    drop(tab, "notes.jpg", b"some text")
    tab.wait_for("document.querySelector('[role=alert]').textContent !== ''")
    assert tab.run("document.querySelector('[role=alert]').textContent") == "the image: not a picture but text"
    assert tab.run("document.querySelector('#answer').hidden")
    drop(tab, "nothing.jpg", b"")
    tab.wait_for("document.querySelector('[role=alert]').textContent === 'nothing.jpg is empty'")
    drop(tab, "apple.jpg", served.paths[0].read_bytes())
    tab.wait_for("!document.querySelector('#answer').hidden")
    assert tab.run("document.querySelector('[role=alert]').textContent") == ""


@needs_browser
def test_the_page_is_used_with_the_keyboard_alone(served: Served, tab: Browser) -> None:
    tab.open(f"{served.address}/", 1280)
    drop(tab, "apple.jpg", served.paths[0].read_bytes())
    tab.wait_for("document.querySelector('#heat').naturalWidth > 0")
    reached = []
    for _ in range(5):
        for kind in ("keyDown", "keyUp"):
            tab.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(tab.run("document.activeElement.id || document.activeElement.dataset.name || 'link'"))
    names = tab.run("[...document.querySelectorAll('#classes button')].map((row) => row.dataset.name)")
    assert reached == ["file", *names, "link"]


@needs_browser
def test_the_description_for_programs_is_shown_without_a_network(served: Served, tab: Browser) -> None:
    tab.open(f"{served.address}/docs", 1280)
    tab.wait_for("document.body.innerText.includes('/predict')")
    assert tab.console == []


def test_a_page_of_another_site_cannot_use_the_server(served: Served) -> None:
    headers = {"Content-Type": "image/jpeg", "Origin": "https://evil.example"}
    assert httpx.post(f"{served.address}/predict", content=b"x", headers=headers).status_code == 403
    assert httpx.get(f"{served.address}/health", headers={"Host": "evil.example"}).status_code == 400


def test_a_taken_port_is_said_in_one_line_before_anything_is_loaded(finished_runs: FinishedRuns) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = finished_runs.commands.run("scripts/serve.py", "model=nothing", f"port={port}")
    said = f"error: host=127.0.0.1 port={port}: address already in use. Choose another port, or port=0 for a free one\n"
    assert (ran.code, ran.out, ran.err) == (1, "", said)


def test_sigterm_ends_it_with_exit_code_0(served: Served) -> None:
    """The last test: it ends the server."""
    served.process.send_signal(signal.SIGTERM)
    out, err = served.process.communicate(timeout=30)
    said = "stopping when the requests that were begun are answered; once more stops at once\n"
    assert (served.process.returncode, out, err) == (0, "", said)
