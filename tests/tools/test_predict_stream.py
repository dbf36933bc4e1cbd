"""Listings of any number of images: as they come, in every form, continued after an interruption, with bad files."""

import csv
import gc
import io
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.tools.arithmetic_network import NAMES, NETWORK, predict_with, probabilities
from thaw.common.errors import UserError
from thaw.config.tool_schemas import PredictConfig
from thaw.data.file_bytes import BadImageError
from thaw.results import predicted_files
from thaw.results.classifier import Classifier, InferenceSettings
from thaw.tools import partial_listing, printed_listing
from thaw.tools.prediction_listing import ListedImage


class Counting:
    """`probabilities`, which Ctrl-C ends at the call with this number."""

    def __init__(self, interrupt_at: int | None) -> None:
        self.interrupt_at, self.images = interrupt_at, []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        if len(self.images) == self.interrupt_at:
            raise KeyboardInterrupt
        self.images.append(len(images))
        return probabilities(images)


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Eleven pictures from black to white."""
    folder = tmp_path / "photos"
    folder.mkdir()
    files = [folder / f"{i:02}.png" for i in range(11)]
    for i, file in enumerate(files):
        Image.new("RGB", (8, 8), (25 * i, 25 * i, 25 * i)).save(file)
    return [str(file) for file in files]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs `thaw predict` on a network of arithmetic, in groups of 4 files."""
    monkeypatch.setattr(predicted_files, "DECODE_GROUP", 4)

    def run(output: str | None = None, interrupt_at: int | None = None, network: Classifier = NETWORK, **keys) -> list:
        counting = Counting(interrupt_at)
        keys = {"images": str(tmp_path / "photos"), "top": 2, **keys}
        predict_with(counting, PredictConfig(output=str(tmp_path / output) if output else None, **keys), network)
        return counting.images

    return run


def files_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.name != "photos")


def expected_rows(photos: list[str], numbers: range | list[int] = range(11)) -> list[tuple[str, int, str, float]]:
    rows = []
    for i in numbers:
        mean = np.float64(25 * i) / 255
        values = dict(zip(NAMES, map(float, np.float32([(1 - mean) * 0.75, 0.25, mean * 0.75])), strict=True))
        best = sorted(values, key=lambda name: -values[name])[:2]
        rows += [(photos[i], rank, name, values[name]) for rank, name in enumerate(best, 1)]
    return rows


def rows_of(file: Path) -> list[tuple[str, int, str, float]]:
    """The rows of a listing in any form."""
    if file.suffix == ".csv":
        found = list(csv.DictReader(io.StringIO(file.read_text())))
        return [(row["image"], int(row["rank"]), row["class"], float(row["probability"])) for row in found]
    if file.suffix == ".parquet":
        return [tuple(row.values()) for row in pq.read_table(file).to_pylist()]
    text = file.read_text()
    entries = json.loads(text) if file.suffix == ".json" else list(map(json.loads, text.splitlines()))
    return [
        (entry["image"], rank, answer["class"], answer["probability"])
        for entry in entries
        for rank, answer in enumerate(entry["predictions"], 1)
    ]


FORMS = ["f.csv", "f.json", "f.jsonl", "f.parquet"]


@pytest.mark.parametrize("name", FORMS)
def test_every_form_has_every_image_with_its_probabilities(run, photos, tmp_path: Path, name: str) -> None:
    assert sum(run(name)) == 11
    assert rows_of(tmp_path / name) == expected_rows(photos)
    assert files_in(tmp_path) == [name]


def test_json_is_what_json_writes_of_the_whole_list(run, photos, tmp_path: Path) -> None:
    run("f.json")
    text = (tmp_path / "f.json").read_text()
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("seconds", [0.0, 60.0], ids=["recorded at every group", "recorded at the interruption"])
@pytest.mark.parametrize("name", FORMS)
def test_an_interrupted_listing_continues_and_becomes_the_uninterrupted_one(
    run, photos, tmp_path: Path, monkeypatch, name: str, seconds: float, capsys
) -> None:
    monkeypatch.setattr(partial_listing, "COMMIT_SECONDS", seconds)
    for i in (1, 9):
        Path(photos[i]).write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"2 of 11 files could not be read:\n  .*01\.png: .*\n  .*09\.png: "):
        run(f"whole-{name}", reject_below=0.5)
    with pytest.raises(KeyboardInterrupt):
        run(name, interrupt_at=2, reject_below=0.5)
    assert not (tmp_path / name).exists(), "a name is that of a whole file"
    assert "stopped at 8 of 11 images: the same command continues there\n" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"2 of 11 files could not be read:\n  .*01\.png: .*\n  .*09\.png: "):
        assert run(name, reject_below=0.5) == [2], "what is there is not computed again"
    said = capsys.readouterr().err
    assert "images that are there already: 8 of 11" in said
    assert "rejected: 3 of 9 images, whose best probability is below 0.5: their label is unknown" in said
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    assert (tmp_path / "f.bad.csv").read_bytes() == (tmp_path / "whole-f.bad.csv").read_bytes()
    assert files_in(tmp_path) == ["f.bad.csv", name, "whole-f.bad.csv", f"whole-{name}"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"top": 3}, "another form"),
        ({"reject_below": 0.5}, "another form"),
        ({"bits": 12}, "another decoding"),
        ({"tta": "flip"}, "another tta"),
        ({"network": replace(NETWORK, class_names=["a", "b", "c"])}, "another classes"),
        ({"network": replace(NETWORK, image_size=16)}, "another decoding"),
        ({"network": replace(NETWORK, judged_with=InferenceSettings(boundary=3))}, "another engine or precision"),
        ("an image changed", "another list of images"),
    ],
)
def test_what_was_begun_of_something_else_is_begun_anew(
    run, photos, tmp_path: Path, change, named: str, capsys
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run("f.csv", interrupt_at=1)
    if change == "an image changed":
        Path(photos[0]).write_bytes(Path(photos[5]).read_bytes())
    keys = change if isinstance(change, dict) else {}
    assert sum(run("f.csv", **keys)) == 11 * (1 + ("tta" in keys))
    assert f"f.csv.part has {named}: it is begun anew" in capsys.readouterr().err
    run("anew.csv", **keys)
    assert (tmp_path / "f.csv").read_bytes() == (tmp_path / "anew.csv").read_bytes()


def test_a_record_of_rows_that_are_gone_is_not_believed(run, photos, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run("f.csv", interrupt_at=2)
    record = (tmp_path / "f.csv.part.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        run("f.csv", interrupt_at=0, top=3)
    assert not (tmp_path / "f.csv.part.json").exists()
    (tmp_path / "f.csv.part.json").write_bytes(record)  # of rows that the partial file no longer has
    assert sum(run("f.csv")) == 11
    assert rows_of(tmp_path / "f.csv") == expected_rows(photos)


def test_a_crash_before_the_last_name_is_continued(run, photos, tmp_path: Path, monkeypatch) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(partial_listing.PartialListing, "_publish_bad_list", crash)
        with pytest.raises(KeyboardInterrupt):
            run("f.json")
    assert run("f.json") == []
    assert rows_of(tmp_path / "f.json") == expected_rows(photos)


def test_bad_files_are_listed_beside_the_listing_and_a_later_one_without_takes_the_list_away(
    run, photos, tmp_path: Path
) -> None:
    good = Path(photos[3]).read_bytes()
    Path(photos[3]).write_bytes(b"")
    with pytest.raises(UserError, match=r"1 of 11 files could not be read:\n  .*03\.png: "):
        run("f.csv")
    (bad,) = csv.DictReader(io.StringIO((tmp_path / "f.bad.csv").read_text()))
    assert (bad["path"], bad["kind"]) == (photos[3], "empty")
    assert bad["reason"]
    assert rows_of(tmp_path / "f.csv") == expected_rows(photos, [i for i in range(11) if i != 3])
    Path(photos[3]).write_bytes(good)
    run("f.csv")
    assert files_in(tmp_path) == ["f.csv"]
    (tmp_path / "f.bad.csv").write_text("my own\n")
    run("f.csv")
    assert (tmp_path / "f.bad.csv").read_text() == "my own\n"


@pytest.mark.parametrize(("output", "where"), [(None, "output=FILE lists all"), ("f.csv", r"all are listed in f\.bad")])
def test_of_many_bad_files_the_first_are_named(run, tmp_path: Path, output: str | None, where: str) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(30):
        (folder / f"{i:02}.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=rf"(?s)30 of 30 files.*19\.png: [^\n]*\n  and 10 more: {where}"):
        run(output, format="csv")
    if output:
        assert (tmp_path / "f.bad.csv").read_text().count("\n") == 31


def test_rejected_images_are_unknown_in_every_form_and_keep_their_probabilities(
    run, photos, tmp_path: Path, capsys
) -> None:
    for name in FORMS:
        run(name, reject_below=0.5)
    rejected = [i for i in range(11) if max(1 - 25 * i / 255, 25 * i / 255) * 0.75 < 0.5]
    assert rejected == [4, 5, 6]
    labels = ["unknown" if i in rejected else "dark" if i < 5 else "bright" for i in range(11)]
    found = list(csv.DictReader(io.StringIO((tmp_path / "f.csv").read_text())))
    assert list(found[0]) == ["image", "rank", "class", "probability", "label", "rejected"]
    assert [(row["label"], row["rejected"]) for row in found[::2]] == [
        (label, "true" if i in rejected else "false") for i, label in enumerate(labels)
    ]
    assert rows_of(tmp_path / "f.csv") == expected_rows(photos)
    for entries in (
        json.loads((tmp_path / "f.json").read_text()),
        list(map(json.loads, (tmp_path / "f.jsonl").read_text().splitlines())),
        pq.read_table(tmp_path / "f.parquet").to_pylist()[::2],
    ):
        assert [entry["label"] for entry in entries] == labels
        assert [entry["rejected"] for entry in entries] == [i in rejected for i in range(11)]
    capsys.readouterr()
    run(reject_below=0.5)
    printed = capsys.readouterr()
    assert printed.out.count("unknown") == 3
    assert "rejected: 3 of 11 images" in printed.err


def test_a_class_called_unknown_is_told_from_a_rejected_image(run, photos, tmp_path: Path, capsys) -> None:
    run("f.json", network=replace(NETWORK, class_names=["dark", "grey", "unknown"]), reject_below=0.5)
    assert "note: a class is called unknown, as the label of rejected images is" in capsys.readouterr().err
    entries = json.loads((tmp_path / "f.json").read_text())
    assert [entry["rejected"] for entry in entries if entry["label"] == "unknown"] == [True] * 3 + [False] * 4


def test_a_long_table_is_printed_in_parts(run, photos, monkeypatch, capsys) -> None:
    run()
    assert capsys.readouterr().out.count("probability") == 1
    monkeypatch.setattr(printed_listing, "TABLE_IMAGES", 4)
    run()
    out = capsys.readouterr().out
    assert out.count("probability") == 3
    assert [file for file in photos if file in out] == photos


def test_names_come_from_standard_input_and_absent_ones_are_bad_files(run, photos, tmp_path, monkeypatch) -> None:
    class Stdin:
        def __init__(self, content: bytes) -> None:
            self.buffer = io.BytesIO(content)

    for end in ("\n", "\0"):
        names = [photos[2], "absent.png", photos[0], photos[2]]
        monkeypatch.setattr("sys.stdin", Stdin("".join(name + end for name in names).encode()))
        with pytest.raises(UserError, match=r"1 of 3 files could not be read:\n  absent\.png: no such file"):
            run("f.csv", images="-")
        assert rows_of(tmp_path / "f.csv") == expected_rows(photos, [2, 0])
    monkeypatch.setattr("sys.stdin", Stdin(b"\n"))
    with pytest.raises(UserError, match="images=- reads names of files from standard input, a line each, and there"):
        run("f.csv", images="-")


def test_a_pipe_is_written_to_and_not_replaced(run, photos, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    run("pipe", format="csv")
    reader.join()
    assert read[0].count(b"\n") == 23
    assert files_in(tmp_path) == ["pipe"]


def start(images: str | Path, output: Path, seconds: float) -> subprocess.Popen:
    """Start a process that predicts with the network of arithmetic."""
    module = [sys.executable, "-m", "tests.tools.arithmetic_network", str(images), str(output), str(seconds)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(module, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("name", ["f.json", pytest.param("f.parquet", marks=pytest.mark.slow)])
def test_a_killed_process_leaves_what_another_one_continues(tmp_path: Path, name: str, run) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(400):
        Image.new("RGB", (8, 8), (i % 256, 0, 0)).save(folder / f"{i:03}.png")
    (folder / "010.png").write_bytes(b"no picture")
    killed = start(folder, tmp_path / name, 0.1)
    assert killed.stdout is not None
    for _ in range(2):  # groups of 64
        killed.stdout.readline()
    time.sleep(0.15)  # in the middle of the third
    killed.kill()
    killed.communicate()
    assert killed.returncode == -9
    assert not (tmp_path / name).exists()
    continued = start(folder, tmp_path / name, 0)
    _, err = continued.communicate(timeout=60)
    assert "images that are there already: 128 of 400" in err or "images that are there already: 192 of 400" in err
    with pytest.raises(UserError, match="1 of 400 files could not be read"):
        run(f"whole-{name}")
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    assert (tmp_path / "f.bad.csv").read_bytes() == (tmp_path / "whole-f.bad.csv").read_bytes()
    assert files_in(tmp_path) == ["f.bad.csv", name, "whole-f.bad.csv", f"whole-{name}"]


def test_no_more_is_held_of_many_images_than_of_a_few(run, photos, tmp_path: Path, monkeypatch) -> None:
    """Of 600 images, half of which are bad, only names are held."""
    held: list[int] = []
    commit = partial_listing.PartialListing.commit

    def counting(self: partial_listing.PartialListing, files: int) -> None:
        commit(self, files)
        if self.state.done % 100 == 0:
            gc.collect()
            kinds = (ListedImage, BadImageError, predicted_files.PredictedImage)
            held.append(sum(isinstance(found, kinds) for found in gc.get_objects()) + len(self.state.first_bad))

    monkeypatch.setattr(partial_listing.PartialListing, "commit", counting)
    for i in range(600):
        file = tmp_path / "photos" / f"more-{i:03}.png"
        file.write_bytes(b"no picture" if i % 2 else Path(photos[5]).read_bytes())
    with pytest.raises(UserError, match="300 of 600 files could not be read"):
        run("f.csv", images=f"{tmp_path}/photos/more-*.png")
    assert len(held) == 6
    assert max(held) - held[0] <= 40


@pytest.mark.slow
def test_memory_is_flat_over_twenty_thousand_images(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    (tmp_path / "photos").mkdir()
    for i in range(20_000):
        (tmp_path / "photos" / f"{i:05}.png").write_bytes(content.getvalue())
    out, err = start(tmp_path / "photos", tmp_path / "f.parquet", 0).communicate(timeout=600)
    kilobytes = [int(line.split()[1]) for line in out.splitlines() if line.startswith("memory ")]
    assert len(kilobytes) == -(-20_000 // predicted_files.DECODE_GROUP), err
    assert kilobytes[-1] - kilobytes[20] < 10_000
    assert pq.read_metadata(tmp_path / "f.parquet").num_rows == 40_000
