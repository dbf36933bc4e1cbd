"""Downloads into Keras's cache: checked before the file gets its name, and each time that it is used.

`keras.utils.get_file` writes to the final name. Killed in the middle, it leaves a partial file there, which it accepts
from then on where it knows no hash (MobileNet's and MobileNetV2's weights). It waits forever for a silent server,
leaves a file with a wrong hash in place, and falls back to a folder in /tmp that others can write to.
"""

import contextlib
import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thaw.common.console import progress, say
from thaw.common.errors import UserError
from thaw.common.files import lock_file

TIMEOUT_SECONDS = 30.0  # of a server, at connecting and between any two chunks
_CHUNK_BYTES = 1 << 20


class DownloadError(UserError):
    """A file could not be downloaded from `url`, for this `reason`. What the user can do instead is not in it."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} could not be downloaded: {reason}")
        self.url, self.reason = url, reason


def keras_cache_folder(name: str) -> Path:
    """Return the folder `datasets` or `models` of Keras's cache, ~/.keras or $KERAS_HOME; never one in /tmp."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / name


def fetch(url: str, target: Path, digest: str | None = None, is_valid: Callable[[Path], bool] = lambda _: True) -> Path:
    """Return `target`, downloaded once from `url`; a file that is there is checked, and downloaded anew when wrong.

    It is written to `NAME.part`, under a lock, and renamed when all checks have passed.

    Args:
        url: where the file is published.
        target: the file's path.
        digest: the sha256 or md5 that its publisher gives, in hexadecimal digits; None where he gives none. The sha256
            of the first file that was accepted is recorded beside it, in `NAME.sha256`. Where he gives no sha256, later
            files must have that one.
        is_valid: whether a file is readable at all, for those whose publisher gives no hash.

    Raises:
        DownloadError: the file cannot be had, or is not the one expected.
    """
    try:
        if _is_accepted(target, digest, is_valid):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        waiting = f"{target.name} is being downloaded by another process: waiting for it"
        with lock_file(target.with_name(f"{target.name}.lock"), waiting):
            if not _is_accepted(target, digest, is_valid):  # another process may have fetched it meanwhile
                if target.exists():
                    say(f"{target} is damaged or another file: its hash is not the one expected. It is fetched anew")
                _download(url, target, digest, is_valid)
    except OSError as error:
        raise DownloadError(url, f"{error.filename or target}: {(error.strerror or str(error)).lower()}") from error
    return target


def _is_accepted(file: Path, digest: str | None, is_valid: Callable[[Path], bool]) -> bool:
    """Whether the file is there and is the right one; its sha256 is recorded when it is met for the first time."""
    if not file.is_file():
        return False
    hashes = _Hashes()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            hashes.update(chunk)
    recorded = _recorded_sha256(file)
    if not hashes.match(digest) or not (_is_sha256(digest) or hashes.match(recorded)):
        return False
    if not (digest or recorded or is_valid(file)):
        return False
    if recorded != hashes.sha256:
        with contextlib.suppress(OSError):  # a folder that only an administrator fills
            _record_sha256(file, hashes.sha256)
    return True


def _download(url: str, target: Path, digest: str | None, is_valid: Callable[[Path], bool]) -> None:
    part = target.with_name(f"{target.name}.part")
    try:
        hashes = _receive(url, part, digest is None)
        if not hashes.match(digest):
            raise DownloadError(url, f"what came has another hash than the {digest} that its publisher gives")
        recorded = _recorded_sha256(target)
        if not _is_sha256(digest) and not hashes.match(recorded):
            raise DownloadError(
                url,
                f"what came is not what came the first time (sha256 {hashes.sha256}, then {recorded}). "
                f"If it was replaced there on purpose, remove {_sha256_file(target)}",
            )
        if not is_valid(part):
            raise DownloadError(url, "what came is not a file of that kind")
        _record_sha256(target, hashes.sha256)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _receive(url: str, part: Path, length_needed: bool) -> "_Hashes":
    """Write what the server sends to `part`, down to the disk."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            if url.startswith("https:") and not response.url.startswith("https:"):
                raise DownloadError(url, f"the server sends to {response.url}, which is not encrypted")
            if response.length is None and length_needed:
                raise DownloadError(url, "the server does not say how long it is, and no hash is known")
            return _write_response(url, response, part, response.length)
    except urllib.error.HTTPError as error:
        raise DownloadError(url, f"{error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise DownloadError(url, str(error.reason)) from error
    except TimeoutError as error:
        raise DownloadError(url, f"the server was silent for {TIMEOUT_SECONDS:g} seconds") from error
    except (http.client.HTTPException, ConnectionError) as error:
        raise DownloadError(url, f"the connection broke ({error})") from error


def _write_response(url: str, response: Any, part: Path, length: int | None) -> "_Hashes":
    hashes, megabytes = _Hashes(), (length or 0) / 1e6
    say(f"downloading {url}{f' ({megabytes:,.1f} MB)' if length else ''}")
    with part.open("wb") as file, progress("downloading, MB", round(megabytes)) as bar:
        while chunk := response.read(_CHUNK_BYTES):
            megabytes_before = int(hashes.length / 1e6)
            hashes.update(chunk)
            file.write(chunk)
            bar.advance(int(hashes.length / 1e6) - megabytes_before)
        file.flush()
        os.fsync(file.fileno())
    if length is not None and hashes.length != length:
        raise DownloadError(url, f"the connection ended after {hashes.length:,} of {length:,} bytes")
    return hashes


class _Hashes:
    """The hashes of a stream of bytes: sha256, and md5, the only one that Keras has of many files."""

    def __init__(self) -> None:
        self.length = 0
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)

    def update(self, chunk: bytes) -> None:
        self.length += len(chunk)
        self._sha256.update(chunk)
        self._md5.update(chunk)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def match(self, digest: str | None) -> bool:
        return digest is None or digest.lower() in (self.sha256, self._md5.hexdigest())


def _is_sha256(digest: str | None) -> bool:
    """Whether a publisher's digest overrules the recorded one: he may replace a file and give its new sha256."""
    return digest is not None and len(digest) == 64


def _sha256_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _recorded_sha256(file: Path) -> str | None:
    """The sha256 recorded beside a file; a record that holds none, as after a power cut, does not count."""
    with contextlib.suppress(FileNotFoundError):
        match = re.match(r"[0-9a-f]{64}\b", _sha256_file(file).read_text(errors="replace"))
        return match[0] if match else None
    return None


def _record_sha256(file: Path, sha256: str) -> None:
    """Record it as `sha256sum` does, so that `sha256sum -c` checks it."""
    temporary = file.with_name(f"{file.name}.sha256.{os.getpid()}")
    temporary.write_text(f"{sha256}  {file.name}\n")
    temporary.replace(_sha256_file(file))
