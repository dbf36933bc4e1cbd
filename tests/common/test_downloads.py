"""Downloads from a server on this machine that does what servers and networks do to one."""

import hashlib
import http.server
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from thaw.common import downloads
from thaw.common.downloads import DownloadError, fetch, keras_cache_folder

CONTENT = random.Random(0).randbytes(3_000_000)  # the same in all processes: hashes of it name tests
SHA256, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()
SRC = Path(downloads.__file__).parents[2]


class Server(http.server.BaseHTTPRequestHandler):
    """The path says what happens: /whole, /cut, /silent, /endless, /other, /lengthless, anything else 404."""

    asked: dict[str, int]
    go_on: threading.Event

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        what = self.path.strip("/")
        self.asked[what] = self.asked.get(what, 0) + 1
        if what not in ("whole", "cut", "silent", "slow", "other", "lengthless"):
            self.send_error(404)
            return
        content = CONTENT[::-1] if what == "other" else CONTENT
        self.send_response(200)
        if what != "lengthless":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if what in ("silent", "slow"):
            self.wfile.write(content[:1_500_000])
            self.go_on.wait(20)
            content = content[1_500_000:] if what == "slow" else b""
        self.wfile.write(content[:1_000_000] if what == "cut" else content)


@pytest.fixture
def server(monkeypatch) -> Iterator[type[Server]]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = type("Own", (Server,), {"asked": {}, "go_on": threading.Event()})
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    listening.handle_error = lambda *_: None  # clients that were killed
    handler.address = f"http://127.0.0.1:{listening.server_port}"
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield handler
    handler.go_on.set()
    listening.shutdown()
    listening.server_close()


def left(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} - {"it.h5.lock"}


def fetching(url: str, target: Path, digest: str | None = SHA256) -> subprocess.Popen:
    code = (
        "import sys; from pathlib import Path; from thaw.common.downloads import fetch\n"
        "fetch(sys.argv[1], Path(sys.argv[2]), sys.argv[3] or None)"
    )
    env = {**os.environ, "PYTHONPATH": str(SRC), "no_proxy": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, url, str(target), digest or ""],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def until(holds, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("digest", [SHA256, SHA256.upper(), MD5, None])
def test_a_file_is_fetched_once_and_its_sha256_kept_beside_it(server, tmp_path, digest) -> None:
    target = tmp_path / "models" / "it.h5"
    for _ in range(2):
        assert fetch(f"{server.address}/whole", target, digest).read_bytes() == CONTENT
    assert server.asked == {"whole": 1}
    assert left(target.parent) == {"it.h5", "it.h5.sha256"}
    assert (target.parent / "it.h5.sha256").read_text() == f"{SHA256}  it.h5\n"


@pytest.mark.parametrize(
    ("what", "digest", "message"),
    [
        ("gone", SHA256, "404 Not Found"),
        ("cut", SHA256, r"the connection ended after 1,000,000 of 3,000,000 bytes"),
        ("cut", None, r"the connection ended after 1,000,000 of 3,000,000 bytes"),
        ("other", SHA256, f"has another hash than the {SHA256}"),
        ("other", MD5, f"has another hash than the {MD5}"),
        ("silent", SHA256, "silent for 0.3 seconds"),
        ("lengthless", None, "does not say how long it is, and no hash is known"),
    ],
)
def test_what_is_not_whole_and_right_gets_no_name(server, tmp_path, monkeypatch, what, digest, message) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", 0.3)
    with pytest.raises(DownloadError, match=message) as caught:
        fetch(f"{server.address}/{what}", tmp_path / "it.h5", digest)
    assert caught.value.url == f"{server.address}/{what}"
    assert left(tmp_path) == set()


def test_a_hash_makes_up_for_a_length(server, tmp_path) -> None:
    assert fetch(f"{server.address}/lengthless", tmp_path / "it.h5", SHA256).read_bytes() == CONTENT


def test_nobody_listening_is_told(tmp_path) -> None:
    with pytest.raises(DownloadError, match="refused"):
        fetch("http://127.0.0.1:9/it.h5", tmp_path / "it.h5", SHA256)


def test_a_wrong_file_that_is_there_is_fetched_anew_and_said(server, tmp_path, capsys) -> None:
    target = tmp_path / "it.h5"
    target.write_bytes(CONTENT[:-1])
    assert fetch(f"{server.address}/whole", target, MD5).read_bytes() == CONTENT
    assert "it.h5 is damaged or another file" in capsys.readouterr().out


def test_a_wrong_file_is_not_taken_when_there_is_no_better(server, tmp_path) -> None:
    (tmp_path / "it.h5").write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match="404"):
        fetch(f"{server.address}/gone", tmp_path / "it.h5", SHA256)


def test_without_a_publishers_hash_what_came_first_holds(server, tmp_path) -> None:
    target = tmp_path / "it.h5"
    fetch(f"{server.address}/whole", target)
    target.write_bytes(CONTENT[::-1])
    with pytest.raises(DownloadError, match=r"not what came the first time .* remove .*it\.h5\.sha256"):
        fetch(f"{server.address}/other", target)
    assert fetch(f"{server.address}/whole", target).read_bytes() == CONTENT


def test_a_note_adds_to_an_md5_but_a_publishers_new_sha256_replaces_it(server, tmp_path) -> None:
    target, note = tmp_path / "it.h5", tmp_path / "it.h5.sha256"
    note.write_text(f"{'0' * 64}  it.h5\n")
    with pytest.raises(DownloadError, match="not what came the first time"):
        fetch(f"{server.address}/whole", target, MD5)
    assert not target.exists()
    for _ in range(2):
        fetch(f"{server.address}/whole", target, SHA256)
    assert note.read_text() == f"{SHA256}  it.h5\n"
    assert server.asked == {"whole": 2}


def test_without_any_hash_a_file_must_be_sound(server, tmp_path) -> None:
    """Keras's own download leaves a partial file when it is killed; that it cannot be read is all that shows it."""
    target = tmp_path / "it.h5"
    target.write_bytes(CONTENT[:1000])
    whole = lambda file: file.stat().st_size == len(CONTENT)  # noqa: E731
    assert fetch(f"{server.address}/whole", target, None, whole).read_bytes() == CONTENT
    target.unlink()
    with pytest.raises(DownloadError, match="not a file of that kind"):
        fetch(f"{server.address}/whole", target, None, lambda _: False)
    assert not target.exists()


def test_killed_in_the_middle_nothing_is_believed_and_the_next_call_fetches_it(server, tmp_path) -> None:
    target = tmp_path / "it.h5"
    process = fetching(f"{server.address}/slow", target, None)
    until(lambda: (tmp_path / "it.h5.part").exists() and (tmp_path / "it.h5.part").stat().st_size >= 1_000_000)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left(tmp_path) == {"it.h5.part"}
    assert fetch(f"{server.address}/whole", target).read_bytes() == CONTENT
    assert left(tmp_path) == {"it.h5", "it.h5.sha256"}


def test_ctrl_c_leaves_nothing(server, tmp_path) -> None:
    process = fetching(f"{server.address}/slow", tmp_path / "it.h5")
    until(lambda: (tmp_path / "it.h5.part").exists())
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=20)[1]
    assert left(tmp_path) == set()


def test_two_processes_at_once_download_it_once(server, tmp_path) -> None:
    one, other = (fetching(f"{server.address}/slow", tmp_path / "it.h5") for _ in range(2))
    until(lambda: server.asked)
    time.sleep(1)
    server.go_on.set()
    outs = [process.communicate(timeout=20) for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), outs
    assert server.asked == {"slow": 1}
    assert (tmp_path / "it.h5").read_bytes() == CONTENT
    assert sum("being downloaded by another process" in out for out, _ in outs) == 1


def test_a_full_disk_and_a_folder_that_cannot_be_made_are_told(server, tmp_path, monkeypatch) -> None:
    if Path("/dev/full").exists():
        (tmp_path / "it.h5.part").symlink_to("/dev/full")
        with pytest.raises(DownloadError, match=r"it\.h5: no space left on device"):
            fetch(f"{server.address}/whole", tmp_path / "it.h5", SHA256)
        assert left(tmp_path) == set()
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"not a directory|file exists"):
        fetch(f"{server.address}/whole", tmp_path / "file" / "it.h5", SHA256)


def test_the_folder_is_kerass_and_never_in_tmp(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert keras_cache_folder("models") == tmp_path / "models"
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", "/nowhere")
    assert keras_cache_folder("datasets") == Path("/nowhere/.keras/datasets")
