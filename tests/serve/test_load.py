"""A server under the load of many clients, and one that is killed meanwhile: no answer is lost or wrong."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from thaw.data.picture_input import pixels_of
from thaw.serve.http_service import Batching
from thaw_lab.serving.load_requests import LoadImage, LoadResult, send_load

from .fake_network import CLASSES, SIZE, FakeNetwork, colour_shares, fake_server
from .test_http_app import jpeg

ROOT = Path(__file__).parent.parent.parent


def images() -> list[LoadImage]:
    contents = [jpeg((20 * i, 200 - 10 * i, 5 * i), (30 + i, 40)) for i in range(12)]
    sound = [
        LoadImage(f"{i}.jpg", content, dict(zip(CLASSES, colour_shares(pixels_of(content, SIZE)), strict=True)))
        for i, content in enumerate(contents)
    ]
    return [*sound, LoadImage("half.jpg", contents[0][:300], None)]


def outcome(result: LoadResult) -> tuple[int, list[str], int]:
    return result.lost, result.wrong, result.answered + result.refused


def test_requests_of_many_clients_are_all_answered_rightly_in_batches() -> None:
    network = FakeNetwork(seconds=0.005)
    with fake_server(network, batching=Batching(8, 0.002, 64, 2)) as (address, service):
        result = send_load(address, images(), requests=300, clients=16)
        assert outcome(result) == (0, [], 300)
        assert result.refused > 5
        assert sum(network.sizes) == result.answered
        assert max(network.sizes) > 1
        assert (service.batcher.taken, service.state.buffer.held) == (0, 0)


def test_more_clients_than_the_queue_holds_are_all_answered_in_the_end() -> None:
    network = FakeNetwork(seconds=0.01)
    with fake_server(network, batching=Batching(2, 0.0, 4, 2)) as (address, _):
        result = send_load(address, images(), requests=100, clients=16)
        assert outcome(result) == (0, [], 100)
        assert result.retries > 0


def test_the_load_notices_a_wrong_and_a_lost_answer() -> None:
    spoilt = [
        LoadImage(image.name, image.content, image.expected and {**image.expected, "red": 0.5}) for image in images()
    ]
    with fake_server(FakeNetwork()) as (address, _):
        wrong = send_load(address, spoilt[:1], requests=3, clients=2)
        assert [line.partition(": ")[2][:21] for line in wrong.wrong] == ["a probability is off "] * 3
        assert send_load(address, [LoadImage("x", jpeg((1, 2, 3)), None)], 2, 1).wrong[0].endswith("answered 200")
    assert send_load(address, images(), requests=2, clients=1, patience_seconds=0.3).lost == 2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(port: int, seconds: float = 0.01) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    command = [sys.executable, "-m", "tests.serve.fake_network", str(port), str(seconds)]
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    return process


def test_a_server_that_is_killed_and_started_again_loses_no_request_of_clients_that_retry() -> None:
    port = free_port()
    servers, restarted = [start(port)], threading.Event()

    def kill_once(ended: int, _: LoadResult) -> None:
        if ended == 60:
            servers[0].kill()
            servers[0].wait(10)
            servers.append(start(port))
            restarted.set()

    try:
        result = send_load(f"http://127.0.0.1:{port}", images(), requests=200, clients=8, on_ended=kill_once)
        assert restarted.is_set()
        assert outcome(result) == (0, [], 200)
        assert result.retries > 0
    finally:
        for server in servers:
            server.kill()
            server.communicate(timeout=10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_well_when_its_requests_are_answered(number: int) -> None:
    port = free_port()
    server = start(port, seconds=0.5)
    stopping = threading.Timer(0.25, server.send_signal, (number,))
    stopping.start()
    result = send_load(f"http://127.0.0.1:{port}", images()[:1], requests=1, clients=1)
    assert (outcome(result), result.retries) == ((0, [], 1), 0)
    _, err = server.communicate(timeout=20)
    assert (server.returncode, err) == (0, "")


def test_a_second_signal_ends_it_at_once() -> None:
    port = free_port()
    server = start(port, seconds=20.0)
    waiting = threading.Thread(
        target=send_load, args=(f"http://127.0.0.1:{port}", images()[:1], 1, 1), kwargs={"patience_seconds": 0.1}
    )
    waiting.start()
    with pytest.raises(subprocess.TimeoutExpired):
        server.wait(1)
    server.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        server.wait(1)
    server.terminate()
    assert server.wait(5) == 128 + signal.SIGTERM
    waiting.join(20)
