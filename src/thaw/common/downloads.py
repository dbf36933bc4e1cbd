"""Fetches a file into Keras's cache: checked before it gets its name, and each time it is used.

`keras.utils.get_file` writes to the final name: killed in the middle it leaves a torn file there, which it believes
ever after when it knows no hash (MobileNet's and MobileNetV2's weights). It waits forever for a silent server, leaves a
file with a wrong hash in place, and falls back to a folder in /tmp that others can write to.
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

TIMEOUT_SECONDS = 30.0  # of a server, at connecting and between any two pieces
_PIECE = 1 << 20


class DownloadError(UserError):
    """A file could not be had; `url` says from where, `reason` why, without what the user could do instead."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} could not be downloaded: {reason}")
        self.url, self.reason = url, reason


def keras_cache_folder(name: str) -> Path:
    """`datasets` or `models` in Keras's cache: ~/.keras, or $KERAS_HOME. Never a folder in /tmp, as Keras has it."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / name


def fetch(url: str, target: Path, digest: str | None = None, is_valid: Callable[[Path], bool] = lambda _: True) -> Path:
    """Return `target`, downloaded once from `url`; what is there already is checked, and fetched anew when wrong.

    digest: the sha256 or md5 that its publisher gives, in hexadecimal digits; None where he gives none. The sha256 of
    what was accepted first is kept beside it, in `NAME.sha256`, and holds from then on where he gives no sha256.
    sound: whether a file is readable at all, for those whose publisher gives no hash.

    It is written to `NAME.part`, under a lock, and renamed when all checks have passed. Raises NotFetched.
    """
    try:
        if _believed(target, digest, is_valid):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        waiting = f"{target.name} is being downloaded by another process: waiting for it"
        with lock_file(target.with_name(f"{target.name}.lock"), waiting):
            if not _believed(target, digest, is_valid):  # another process may have fetched it meanwhile
                if target.exists():
                    say(f"{target} is damaged or another file: its hash is not the one expected. It is fetched anew")
                _download(url, target, digest, is_valid)
    except OSError as error:
        raise DownloadError(url, f"{error.filename or target}: {(error.strerror or str(error)).lower()}") from error
    return target


def _believed(file: Path, digest: str | None, sound: Callable[[Path], bool]) -> bool:
    """Whether the file is there and is the right one; its sha256 is noted when it is met for the first time."""
    if not file.is_file():
        return False
    with file.open("rb") as content:
        hashes = _Hashes()
        while piece := content.read(_PIECE):
            hashes.update(piece)
    noted = _noted(file)
    if not hashes.fit(digest) or not (_is_sha256(digest) or hashes.fit(noted)) or not (digest or noted or sound(file)):
        return False
    if noted != hashes.sha256:
        with contextlib.suppress(OSError):  # a folder that only an administrator fills
            _note(file, hashes.sha256)
    return True


def _download(url: str, target: Path, digest: str | None, sound: Callable[[Path], bool]) -> None:
    part = target.with_name(f"{target.name}.part")
    try:
        hashes = _receive(url, part, digest is None)
        if not hashes.fit(digest):
            raise DownloadError(url, f"what came has another hash than the {digest} that its publisher gives")
        noted = _noted(target)
        if not _is_sha256(digest) and not hashes.fit(noted):
            raise DownloadError(
                url,
                f"what came is not what came the first time (sha256 {hashes.sha256}, then {noted}). "
                f"If it was replaced there on purpose, remove {_note_of(target)}",
            )
        if not sound(part):
            raise DownloadError(url, "what came is not a file of that kind")
        _note(target, hashes.sha256)
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
            return _copy(url, response, part, response.length)
    except urllib.error.HTTPError as error:
        raise DownloadError(url, f"{error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise DownloadError(url, str(error.reason)) from error
    except TimeoutError as error:
        raise DownloadError(url, f"the server was silent for {TIMEOUT_SECONDS:g} seconds") from error
    except (http.client.HTTPException, ConnectionError) as error:
        raise DownloadError(url, f"the connection broke ({error})") from error


def _copy(url: str, response: Any, part: Path, length: int | None) -> "_Hashes":
    hashes, megabytes = _Hashes(), (length or 0) / 1e6
    say(f"downloading {url}{f' ({megabytes:,.1f} MB)' if length else ''}")
    with part.open("wb") as file, progress("downloading, MB", round(megabytes)) as bar:
        while piece := response.read(_PIECE):
            before = hashes.length
            hashes.update(piece)
            file.write(piece)
            bar.advance(int(hashes.length / 1e6) - int(before / 1e6))
        file.flush()
        os.fsync(file.fileno())
    if length is not None and hashes.length != length:
        raise DownloadError(url, f"the connection ended after {hashes.length:,} of {length:,} bytes")
    return hashes


class _Hashes:
    """The hashes of bytes that pass by: sha256, and md5, the only one that Keras has of many files."""

    def __init__(self) -> None:
        self.length = 0
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        self.length += len(piece)
        self._sha256.update(piece)
        self._md5.update(piece)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def fit(self, digest: str | None) -> bool:
        return digest is None or digest.lower() in (self.sha256, self._md5.hexdigest())


def _is_sha256(digest: str | None) -> bool:
    """Whether a publisher gives more than a note can add: he may replace a file and give its new sha256."""
    return digest is not None and len(digest) == 64


def _note_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _noted(file: Path) -> str | None:
    """The sha256 kept beside a file; a note that is none, torn for example, does not count."""
    try:
        found = re.match(r"[0-9a-f]{64}\b", _note_of(file).read_text(errors="replace"))
    except FileNotFoundError:
        return None
    return found[0] if found else None


def _note(file: Path, sha256: str) -> None:
    """As `sha256sum` writes it, so that `sha256sum -c` checks it."""
    aside = _note_of(file).with_name(f"{file.name}.sha256.{os.getpid()}")
    aside.write_text(f"{sha256}  {file.name}\n")
    aside.replace(_note_of(file))
