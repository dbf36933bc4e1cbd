import gzip
import hashlib
import http.server
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import thaw
from thaw.common.errors import UserError
from thaw.config.schema import DatasetConfig
from thaw.data import cifar10
from thaw.data.catalog import TEST, TRAIN

from .pictures import write_image

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 2, 32, 32, 3), np.uint8)  # two images a batch
LABELS = [[(2 * batch + i) % 10 for i in range(2)] for batch in range(6)]


class Python2Pickler(pickle._Pickler):
    """Writes strings and bytes as Python 2's `str`, as the official batches have them."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_str(self, obj):
        data = obj if isinstance(obj, bytes) else obj.encode("latin1")
        self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(obj)

    dispatch[bytes] = dispatch[str] = save_str


def pickled(content):
    out = io.BytesIO()
    Python2Pickler(out, protocol=2).dump(content)
    return out.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")  # the module's name when they were made


def batch(number):
    rows = IMAGES[number].transpose(0, 3, 1, 2).reshape(2, -1)
    return pickled({"batch_label": "a batch", "labels": LABELS[number], "data": rows, "filenames": ["a.png", "b.png"]})


def batch_files():
    return {name: batch(number) for number, name in enumerate(cifar10.SPLIT_OF_BATCH)}


def folder_of(parent, files):
    folder = parent / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def archive_of(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"batches.meta": b"meta", **files}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def load(path):
    return cifar10.load_catalog(DatasetConfig(path=str(path)))


def refusal(path):
    with pytest.raises(UserError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize("form", ["archive", "folder", "folder around it"])
def test_the_official_files_are_read_in_every_form(tmp_path, form):
    path = {
        "archive": lambda: archive_of(tmp_path / "cifar-10-python.tar.gz", batch_files()),
        "folder": lambda: folder_of(tmp_path, batch_files()),
        "folder around it": lambda: folder_of(tmp_path, batch_files()).parent,
    }[form]()
    catalog = load(path)
    assert np.array_equal(catalog.arrays, IMAGES.reshape(12, 32, 32, 3))
    assert catalog.labels.tolist() == [label for batch in LABELS for label in batch]
    assert catalog.assigned_splits.tolist() == [TRAIN] * 10 + [TEST] * 2
    assert catalog.names[9:11] == ("data_batch_5/00001", "test_batch/00000")
    assert catalog.class_names[3] == "cat"


def test_python_3s_own_old_pickles_are_read_too():
    content = pickle.dumps({b"data": IMAGES[0], b"text": b"\xff"}, protocol=2)
    assert np.array_equal(cifar10.unpickle_arrays("it", content)[b"data"], IMAGES[0])


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path):
    ran = tmp_path / "ran"
    files = {**batch_files(), "data_batch_2": pickle.dumps({"data": Touch(ran)}, protocol=2)}
    assert "data_batch_2: the pickle asks for" in refusal(folder_of(tmp_path, files))
    assert not ran.exists()


@pytest.mark.parametrize("name", ["os system", "builtins eval", "numpy load", "numpy.core.multiarray scalar"])
def test_every_other_name_is_refused(name):
    module, _, function = name.partition(" ")
    with pytest.raises(UserError, match=f"asks for {module}.{function}"):
        cifar10.unpickle_arrays("it", f"c{module}\n{function}\n.".encode())


def test_a_damaged_batch_is_named(tmp_path):
    files = {**batch_files(), "data_batch_4": batch(3)[:-2000]}
    assert "data_batch_4 is not a readable pickle" in refusal(folder_of(tmp_path, files))


@pytest.mark.parametrize("content", [{"labels": [1]}, {"data": np.zeros((2, 9), np.uint8), "labels": [0, 1]}, [1],
                                     {"data": np.zeros((1, 3072), np.uint8), "labels": [10]}])  # fmt: skip
def test_something_else_in_a_batch_is_refused(tmp_path, content):
    files = {**batch_files(), "test_batch": pickled(content)}
    assert "test_batch is not a batch of CIFAR-10" in refusal(folder_of(tmp_path, files))


def test_missing_batches_are_named(tmp_path):
    files = batch_files()
    del files["data_batch_3"]
    assert "lacks data_batch_3" in refusal(archive_of(tmp_path / "a.tar.gz", files))


def test_a_truncated_archive_is_refused(tmp_path):
    path = archive_of(tmp_path / "a.tar.gz", batch_files())
    path.write_bytes(path.read_bytes()[:-5000])
    assert "damaged" in refusal(path)


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(b"no archive"))
    assert "is not the CIFAR-10 archive" in refusal(tmp_path / "a.tar.gz")
    assert "does not exist" in refusal(tmp_path / "gone.tar.gz")


def test_folders_of_pictures_are_sent_to_image_folder(tmp_path):
    write_image(tmp_path / "train" / "cat" / "1.png")
    write_image(tmp_path / "test" / "cat" / "1.png")
    assert f"dataset=image_folder dataset.path={tmp_path}" in refusal(tmp_path)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


DOWNLOAD = """
import sys
from thaw.config.schema import DatasetConfig
from thaw.data import cifar10
cifar10.URL, cifar10.ARCHIVE_SHA256 = sys.argv[1:]
print(len(cifar10.load_catalog(DatasetConfig())))
assert not {"tensorflow", "keras"} & set(sys.modules)
"""


def test_the_archive_is_downloaded_once_into_kerass_cache(tmp_path):
    archive = archive_of(tmp_path / "cifar-10-python.tar.gz", batch_files())
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz"
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(thaw.__file__).parents[1]),  # installed or not
        "KERAS_HOME": str(tmp_path / "keras"),
        "no_proxy": "127.0.0.1",
    }

    def run(url):
        command = [sys.executable, "-c", DOWNLOAD, url, digest]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    failed = run(url + "x")
    assert f"could not be downloaded from {url}x" in failed.stderr
    assert "dataset.path=FILE" in failed.stderr
    first = run(url)
    assert first.stdout.splitlines()[-1] == "12", first.stderr
    assert len(first.stdout.splitlines()) == 2  # one line about the download, and no bar
    target = tmp_path / "keras/datasets/cifar-10-batches-py-target_archive"
    target.write_bytes(archive.read_bytes()[:-1])  # as Keras leaves it when it is killed
    assert "is damaged or another file" in run(url).stdout
    server.shutdown()
    server.server_close()
    assert run(url).stdout.splitlines()[-1] == "12"
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
