"""What the server answers, on real sockets with a network that needs no TensorFlow."""

import base64
import http.client
import io
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import numpy as np
import pytest
from PIL import Image

from thaw.data.picture_input import pixels_of
from thaw.serve.http_app import Access
from thaw.serve.http_service import Batching

from .fake_network import CLASSES, LIMITS, SIZE, FakeNetwork, colour_shares, fake_server


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG", quality=95)
    return file.getvalue()


RED, GREEN, MIXED = jpeg((200, 30, 20)), jpeg((20, 180, 40)), jpeg((120, 60, 90), (64, 64))
JPEG = {"Content-Type": "image/jpeg"}


def expected(content: bytes, top: int = 3) -> list[dict]:
    shares = colour_shares(pixels_of(content, SIZE))
    best = sorted(range(3), key=lambda i: -shares[i])[:top]
    return [{"class": CLASSES[i], "probability": shares[i]} for i in best]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with fake_server(FakeNetwork()) as (address, _), httpx.Client(base_url=address, timeout=20) as made:
        yield made


def ask(client: httpx.Client, **how: object) -> tuple[int, dict]:
    answer = client.post("/predict", **how)
    return answer.status_code, answer.json()


def test_one_image_as_the_body_gets_its_most_probable_classes(client: httpx.Client) -> None:
    entry = {"name": "the image", "predictions": expected(RED, 2)}
    assert ask(client, content=RED, headers=JPEG) == (200, {"model": "a fake", "results": [entry]})
    for kind in ("application/octet-stream", "IMAGE/PNG; x=y"):
        assert ask(client, content=RED, headers={"Content-Type": kind})[1]["results"] == [entry]


def test_files_of_a_form_are_answered_in_order_by_name(client: httpx.Client) -> None:
    files = [("a", ("red.jpg", RED)), ("b", ("../x/green.jpg", GREEN)), ("a", ("mixed.jpg", MIXED))]
    code, content = ask(client, files=files, data={"other": "field"}, params={"top": 3})
    assert code == 200
    assert [entry["name"] for entry in content["results"]] == ["red.jpg", "green.jpg", "mixed.jpg"]
    assert [entry["predictions"] for entry in content["results"]] == [expected(x) for x in (RED, GREEN, MIXED)]


def test_json_takes_base64_and_data_urls(client: httpx.Client) -> None:
    text = base64.b64encode(GREEN).decode()
    code, content = ask(client, json={"images": [text, f"data:image/jpeg;base64,{text}"]}, params={"top": 1})
    assert code == 200
    entry = expected(GREEN, 1)
    assert content["results"] == [{"name": f"images[{i}]", "predictions": entry} for i in range(2)]


def test_top_and_calibrated_are_asked_for_by_request(client: httpx.Client) -> None:
    _, content = ask(client, content=RED, headers=JPEG, params={"top": 99, "calibrated": "true"})
    halved = [{**entry, "probability": pytest.approx(entry["probability"] / 2)} for entry in expected(RED)]
    assert content["results"][0]["predictions"] == halved
    for query, said in (
        ({"top": 0}, "top=0: "),
        ({"top": "x"}, "top=x: "),
        ({"calibrated": "maybe"}, "calibrated=maybe"),
    ):
        code, content = ask(client, content=RED, headers=JPEG, params=query)
        assert (code, content["error"].startswith(said)) == (422, True), content


def test_a_bad_picture_alone_is_refused_with_the_reason(client: httpx.Client) -> None:
    code, content = ask(client, content=RED[: len(RED) // 2], headers=JPEG)
    assert code == 422
    assert content["error"].startswith("the image: ")
    assert content["results"] == [{"name": "the image", "error": content["error"].removeprefix("the image: ")}]


def test_among_several_pictures_a_bad_one_has_an_error_and_the_others_are_answered(client: httpx.Client) -> None:
    files = [
        ("f", ("red.jpg", RED)),
        ("f", ("notes.txt", b"some text")),
        ("f", ("empty.jpg", b"")),
        ("f", ("g.jpg", GREEN)),
    ]
    code, content = ask(client, files=files)
    assert code == 200
    results = content["results"]
    assert [results[0]["predictions"], results[3]["predictions"]] == [expected(RED, 2), expected(GREEN, 2)]
    assert [entry["error"] for entry in results[1:3]] == ["not a picture but text", "the file is empty"]
    code, content = ask(client, files=files[1:3])
    assert (code, content["error"]) == (422, "no image can be read; notes.txt: not a picture but text")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(client: httpx.Client) -> None:
    file = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(file, "PNG")
    code, content = ask(client, content=file.getvalue(), headers=JPEG)
    assert code == 422
    assert "12000x12000 pixels, more than 100 million" in content["error"]


@pytest.mark.parametrize(
    ("body", "kind", "code", "said"),
    [
        (RED, "text/plain", 415, "content-type text/plain: send multipart/form-data with files"),
        (b"", "image/jpeg", 400, "the request has no image"),
        (b"{", "application/json", 400, "the body is not JSON"),
        (b"[" * 100_000, "application/json", 400, "the body is not JSON"),
        (b'{"pictures": []}', "application/json", 400, 'the JSON must be {"images": [...]}'),
        (b'{"images": []}', "application/json", 400, "the request has no image"),
        (b'{"images": [7]}', "application/json", 422, "images[0]: it is a number where an image in base64"),
        (b'{"images": ["/etc/hostname"]}', "application/json", 422, "images[0]: it is not base64 of an image file"),
        (b'{"images": ["http://127.0.0.1/a.jpg"]}', "application/json", 422, "images[0]: URLs are not fetched"),
        (b"xx", "multipart/form-data", 400, "the form cannot be read: Missing boundary"),
        (b"xx", "multipart/form-data; boundary=a", 400, "the form cannot be read: "),
    ],
)  # fmt: skip
def test_other_bodies_are_refused_with_what_is_expected(
    client: httpx.Client, body: bytes, kind: str, code: int, said: str
) -> None:
    got, content = ask(client, content=body, headers={"Content-Type": kind})
    assert (got, content["error"][: len(said)]) == (code, said)


def test_too_large_a_request_is_refused_whether_it_says_its_size_or_not(client: httpx.Client) -> None:
    said = (413, {"error": "the request is larger than 1 MB (max_mb of the server)"})
    large = bytes(LIMITS.body_bytes + 1)
    assert ask(client, content=large, headers=JPEG) == said
    assert ask(client, content=iter([large[:600_000], large[600_000:]]), headers=JPEG) == said
    assert ask(client, files={"f": ("x.jpg", large)}) == said


def test_too_many_images_are_refused(client: httpx.Client) -> None:
    said = (413, {"error": "the request has more than 8 images (max_images of the server): send several requests"})
    assert ask(client, files=[("f", ("x.jpg", RED))] * 9) == said
    assert ask(client, json={"images": ["eA=="] * 9}) == said


def test_files_are_never_written_to_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *_, **__: written.append("a file") or io.BytesIO())
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 1000, 3), np.uint8)).save(file, "BMP")
    with fake_server(FakeNetwork(), replace(LIMITS, body_bytes=8_000_000, buffer_bytes=9_000_000)) as (address, _):
        answer = httpx.post(f"{address}/predict", files={"f": ("noise.bmp", file.getvalue())}, timeout=30)
    assert (answer.status_code, written) == (200, [])


def test_pages_of_other_sites_and_foreign_host_names_are_refused(client: httpx.Client) -> None:
    own = str(client.base_url).rstrip("/")
    assert ask(client, content=RED, headers={**JPEG, "Origin": own})[0] == 200
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        code, content = ask(client, content=RED, headers={**JPEG, **headers})
        assert (code, "another site" in content["error"]) == (403, True)
    rebound = client.get("/health", headers={"Host": "evil.example"})
    assert (rebound.status_code, rebound.text) == (400, "Invalid host header")
    assert client.get("/health", headers={"Host": "localhost:1"}).status_code == 200
    assert "access-control-allow-origin" not in client.get("/health", headers={"Origin": own}).headers


def test_an_allowed_site_may_use_the_server() -> None:
    site = "https://example.org"
    with fake_server(FakeNetwork(), access=Access((), (site,))) as (address, _):
        answer = httpx.post(f"{address}/predict", content=RED, headers={**JPEG, "Origin": site})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, site)
        asked = {"Origin": site, "Access-Control-Request-Method": "POST"}
        assert httpx.options(f"{address}/predict", headers=asked).status_code == 200


def test_the_heat_map_of_a_class_comes_as_a_picture(client: httpx.Client) -> None:
    content = client.post("/explain", content=MIXED, headers=JPEG).json()
    assert (content["class"], content["nothing_speaks_for_it"]) == ("red", True)
    content = client.post("/explain", params={"class": "bl<b>ue"}, content=MIXED, headers=JPEG).json()
    assert (content["class"], content["nothing_speaks_for_it"]) == ("bl<b>ue", False)
    assert content["probability"] == colour_shares(pixels_of(MIXED, SIZE))[2]
    picture = Image.open(io.BytesIO(base64.b64decode(content["picture"].removeprefix("data:image/jpeg;base64,"))))
    assert picture.size == (64, 64)
    for how, code in (
        ({"params": {"class": "grey"}, "content": RED, "headers": JPEG}, 422),
        ({"content": b"xx", "headers": JPEG}, 422),
        ({"files": [("f", ("x.jpg", RED))] * 2}, 400),
    ):
        assert client.post("/explain", **how).status_code == code


def test_health_metrics_and_unknown_addresses(client: httpx.Client) -> None:
    assert client.get("/health").json() == {"status": "ready", "model": "a fake", "classes": CLASSES, "engine": "none"}
    assert [client.head(path).status_code for path in ("/health", "/")] == [200, 200]
    client.get("/secret/1")
    client.get("/secret/2")
    text = client.get("/metrics").text
    for line in (
        r'thaw_requests_total\{path="/predict",status="200"\} \d+',
        r'thaw_requests_total\{path="other",status="404"\} 2',
        r"thaw_batch_images_sum \d+", r'thaw_request_seconds_bucket\{le="0.005",path="/predict"\} \d+',
        r"thaw_queue_images 0.0", r"thaw_buffered_bytes 0.0", r'thaw_images_total\{outcome="unreadable"\} \d+',
    ):  # fmt: skip
        assert re.search(rf"^{line}", text, re.M), line
    assert "secret" not in text
    assert client.get("/predict").json() == {"error": "Method Not Allowed"}


def test_the_pages_need_nothing_from_elsewhere(client: httpx.Client) -> None:
    for path in ("/", "/docs"):
        page = client.get(path)
        assert page.status_code == 200
        assert re.findall(r'(?:src|href)="((?:https?:)?//[^"]*)"', page.text) == []
    for path in re.findall(r'(?:src|href)="(/[^"]+)"', client.get("/docs").text):
        assert client.get(path).status_code == 200
    described = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    assert set(described["requestBody"]["content"]) >= {"multipart/form-data", "application/json", "image/jpeg"}
    assert set(described["responses"]) >= {"200", "413", "415", "422", "503", "504"}


def test_a_full_queue_is_answered_at_once_with_503_and_when_to_try_again() -> None:
    network = FakeNetwork()
    with fake_server(network, batching=Batching(4, 0.0, 8, 2)) as (address, service), ThreadPoolExecutor(2) as pool:
        network.go.clear()
        waiting = [
            pool.submit(httpx.post, f"{address}/predict", files=[("f", ("x.jpg", RED))] * 4, timeout=30) for _ in "ab"
        ]
        wait_for(lambda: service.batcher.taken == 8)
        started = time.monotonic()
        refused = httpx.post(f"{address}/predict", content=RED, headers=JPEG)
        assert (refused.status_code, refused.headers["retry-after"], time.monotonic() - started < 5) == (503, "1", True)
        assert refused.json() == {"error": "8 images wait already: send the request again in a moment"}
        network.go.set()
        assert [future.result().status_code for future in waiting] == [200, 200]
        assert httpx.post(f"{address}/predict", content=RED, headers=JPEG).status_code == 200
        assert service.batcher.taken == 0


def test_a_request_that_takes_too_long_is_answered_with_504_and_frees_its_place() -> None:
    network = FakeNetwork()
    with fake_server(network, replace(LIMITS, answer_seconds=0.3)) as (address, service):
        network.go.clear()
        answer = httpx.post(f"{address}/predict", content=RED, headers=JPEG)
        assert (answer.status_code, service.batcher.taken) == (504, 0)
        assert answer.json() == {"error": "no answer within 0.3 seconds (answer_seconds of the server)"}
        network.go.set()
        assert httpx.post(f"{address}/predict", content=GREEN, headers=JPEG).json()["results"][0][
            "predictions"
        ] == expected(GREEN, 2)


def head(length: int) -> bytes:
    lines = (
        "POST /predict HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: image/jpeg",
        f"Content-Length: {length}",
        "",
        "",
    )
    return "\r\n".join(lines).encode()


def answer_on(connection: socket.socket) -> tuple[int, bytes]:
    """Status and whole body of the next answer: its head and its body may come in two packets."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read()


def test_slow_clients_are_given_up_and_hold_no_memory() -> None:
    with fake_server(FakeNetwork(), replace(LIMITS, read_seconds=0.5)) as (address, service):
        with connected(address) as slow:
            slow.sendall(head(900_000) + bytes(300_000))
            wait_for(lambda: service.state.buffer.held == 300_000)
            status, body = answer_on(slow)
            assert status == 408
            assert b"did not arrive whole within 0.5 seconds" in body
            assert slow.recv(10) == b""  # the connection ends
        wait_for(lambda: service.state.buffer.held == 0)


def test_images_of_a_client_that_went_away_free_their_places() -> None:
    network = FakeNetwork()
    with fake_server(network) as (address, service):
        network.go.clear()
        with connected(address) as client:
            client.sendall(head(len(RED)) + RED)
            wait_for(lambda: service.batcher.taken == 1)
        wait_for(lambda: service.batcher.taken == 0)
        network.go.set()
        assert httpx.post(f"{address}/predict", content=RED, headers=JPEG).status_code == 200
        assert 'thaw_requests_total{path="/predict",status="499"} 1.0' in httpx.get(f"{address}/metrics").text


def test_all_bodies_together_are_bounded() -> None:
    with fake_server(FakeNetwork(), replace(LIMITS, buffer_bytes=1_000_000)) as (address, service):
        with connected(address) as one, connected(address) as two:
            for client in (one, two):
                client.sendall(head(900_000) + bytes(400_000))
            wait_for(lambda: service.state.buffer.held == 800_000)
            refused = httpx.post(f"{address}/predict", content=bytes(300_000), headers=JPEG)
            assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        wait_for(lambda: service.state.buffer.held == 0)


HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    ("before", "then"),
    [
        pytest.param(b"", b"GET / HT", id="first request"),
        pytest.param(HEALTH, b"POST /predict HTTP/1.1\r\nHo", id="second request"),
        pytest.param(head(100_000_000), b"x", id="body that was refused"),
    ],
)
def test_a_connection_without_a_request_ends_though_bytes_trickle(
    monkeypatch: pytest.MonkeyPatch, before: bytes, then: bytes
) -> None:
    monkeypatch.setattr("thaw.serve.http_server._Protocol.patience_seconds", 0.5)
    with fake_server(FakeNetwork()) as (address, _), connected(address) as slow:
        slow.sendall(before)
        if before:
            answer_on(slow)
        slow.sendall(then)
        slow.settimeout(0.1)
        until, ended = time.monotonic() + 10, False
        while not ended and time.monotonic() < until:
            try:
                slow.sendall(b"a")
                ended = slow.recv(10_000) == b""
            except TimeoutError:
                continue
            except OSError:  # reset
                ended = True
        assert ended


def test_a_connection_that_is_kept_serves_requests_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thaw.serve.http_server._Protocol.patience_seconds", 0.2)
    with fake_server(FakeNetwork()) as (address, _), connected(address) as client:
        for _ in range(3):
            client.sendall(HEALTH[:30])
            client.sendall(HEALTH[30:])
            time.sleep(0.4)
            assert answer_on(client)[0] == 200


def test_a_form_that_is_cut_off_is_refused_and_no_file_of_it_is_left_out() -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="images"; filename="%d.jpg"\r\n\r\n'
    cut = part % 1 + RED + b"\r\n" + part % 2 + GREEN[:50]
    whole = part % 1 + RED + b"\r\n" + part % 2 + GREEN + b"\r\n--x--\r\n"
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    with fake_server(FakeNetwork()) as (address, _):
        answer = httpx.post(f"{address}/predict", content=cut, headers=form)
        assert (answer.status_code, answer.json()["error"]) == (
            400,
            "the form cannot be read: it ends before its closing boundary",
        )
        assert len(httpx.post(f"{address}/predict", content=whole, headers=form).json()["results"]) == 2


def test_a_fault_of_the_network_is_500_without_its_details_and_the_server_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = FakeNetwork(fails=True)
    with fake_server(network) as (address, _):
        answer = httpx.post(f"{address}/predict", content=RED, headers=JPEG)
        assert (answer.status_code, answer.json()) == (
            500,
            {"error": "the server failed at this request; its log says why"},
        )
        network.fails = False
        assert httpx.post(f"{address}/predict", content=RED, headers=JPEG).status_code == 200
    assert "a secret of the network" in caplog.text


def test_what_was_begun_is_answered_before_the_end() -> None:
    network = FakeNetwork()
    with ThreadPoolExecutor(1) as pool, fake_server(network) as (address, service):
        network.go.clear()
        waiting = pool.submit(httpx.post, f"{address}/predict", content=RED, headers=JPEG, timeout=30)
        wait_for(lambda: service.batcher.taken == 1)
        service.drain()
        health = httpx.get(f"{address}/health")
        assert (health.status_code, health.json()["status"]) == (503, "draining")
        threading.Timer(0.5, network.go.set).start()
    assert waiting.result(0).status_code == 200


def connected(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    made = socket.create_connection((host, int(port)))
    made.settimeout(20)
    return made


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
