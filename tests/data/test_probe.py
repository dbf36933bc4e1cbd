import hashlib
import os

import numpy as np
import pytest

from thaw.common.errors import UserError
from thaw.data import probe

from .pictures import noise, photo, write_image


def every_position(hashes):
    return range(len(hashes))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def probe_paths(paths, image_size=32, unknown=every_position):
    return list(probe.probe_files([str(path) for path in paths], image_size, unknown))


@pytest.mark.parametrize("limit", [("BLOCK_FILES", 4), ("BLOCK_BYTES", 500), ("BLOCK_BYTES", 1)])
def test_files_are_probed_in_the_order_asked_for(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(probe, *limit)
    paths = [write_image(tmp_path / f"{i}.png", noise(i + 1, 1, seed=i)) for i in range(11)]
    order = [7, 0, 10, 3, 5, 1, 2, 9, 8, 6, 4]
    assert [probed.result.width - 1 for probed in probe_paths([paths[i] for i in order])] == order


def test_a_sound_file_shows_its_size_hash_and_pixels(tmp_path):
    path = write_image(tmp_path / "1.png", noise(6, 4))
    (probed,) = probe_paths([path])
    assert probed.result == probe.ProbeResult("", "", 6, 4, "PNG", "RGB", "")
    assert probed.sha256 == sha256(path)
    assert np.array_equal(probed.pixels, np.asarray(noise(6, 4)))


def test_what_does_not_fit_is_brought_to_size_but_keeps_its_own_width_and_height(tmp_path):
    paths = [write_image(tmp_path / "1.png", noise(6, 40)), write_image(tmp_path / "2.jpg", photo(300, 200))]
    for probed, size in zip(probe_paths(paths), [(6, 40), (300, 200)], strict=True):
        assert (probed.result.width, probed.result.height) == size
        assert probed.pixels.shape == (32, 32, 3)


def test_a_bad_file_has_a_result_and_does_not_stop_the_others(tmp_path):
    paths = [write_image(tmp_path / f"{i}.png") for i in range(4)]
    paths[1].write_bytes(b"no picture")
    paths[2].unlink()
    first, bad, gone, last = probe_paths(paths)
    assert [first.result.kind, last.result.kind] == ["", ""]
    assert (bad.sha256, bad.result.kind, bad.pixels) == (sha256(paths[1]), "text", None)
    assert (gone.sha256, gone.result.kind, gone.result.reason) == ("", "missing", "no such file or directory")


def test_what_is_known_is_hashed_and_not_decoded(tmp_path):
    paths = [write_image(tmp_path / f"{i}.png", noise(4, 4, i)) for i in range(3)]
    known = sha256(paths[1])
    probed = probe_paths(paths, unknown=lambda hashes: [i for i, digest in enumerate(hashes) if digest != known])
    assert [file.result is None for file in probed] == [False, True, False]
    assert [file.sha256 for file in probed] == [sha256(path) for path in paths]


def test_a_file_is_decoded_again_only_as_it_was(tmp_path):
    path = write_image(tmp_path / "1.png", noise(6, 4))
    was = sha256(path)
    assert np.array_equal(probe.reprobe(str(path), 32, was).pixels, np.asarray(noise(6, 4)))
    write_image(path, noise(6, 4, seed=1))
    with pytest.raises(UserError, match=r"1\.png: it has changed since"):
        probe.reprobe(str(path), 32, was)
    path.unlink()
    with pytest.raises(UserError, match=r"1\.png: no such file.*; it was there when"):
        probe.reprobe(str(path), 32, was)


def test_pixels_that_nobody_asked_for_are_not_made(tmp_path):
    path = write_image(tmp_path / "1.png", noise(6, 4))
    (probed,) = probe.probe_files([str(path)], 32, every_position, with_pixels=False)
    assert probed.pixels is None
    assert (probed.result.width, probed.result.height) == (6, 4)


def test_the_stat_hash_changes_with_the_file(tmp_path):
    path = write_image(tmp_path / "1.png", noise(6, 4))
    before = probe.stat_hash(str(path))
    assert probe.stat_hash(str(path)) == before
    times = path.stat().st_mtime_ns, path.stat().st_mtime_ns
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=times)  # as long as before, and set back: only the time of any change tells
    assert probe.stat_hash(str(path)) != before
    assert probe.stat_hash(str(tmp_path / "gone.png")) is None


def test_a_file_that_may_still_change_gets_no_stat_hash(tmp_path, monkeypatch):
    path = write_image(tmp_path / "1.png")
    assert probe_paths([path])[0].stat_hash is None
    monkeypatch.setattr(probe, "SETTLE_SECONDS", -60.0)
    assert probe_paths([path])[0].stat_hash == probe.stat_hash(str(path))


def test_a_file_that_changes_while_it_is_read_gets_no_stat_hash(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "SETTLE_SECONDS", -60.0)
    path, read = write_image(tmp_path / "1.png"), probe.read_bytes_and_stats

    def meanwhile(path):
        content, before, _ = read(path)
        with open(path, "ab") as file:  # noqa: PTH123
            file.write(b"more")
        return content, before, os.stat(path)  # noqa: PTH116

    monkeypatch.setattr(probe, "read_bytes_and_stats", meanwhile)
    assert probe_paths([path])[0].stat_hash is None
