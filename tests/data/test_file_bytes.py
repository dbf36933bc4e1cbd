import errno
import os

import pytest

from thaw.data.decode import BadImageError, decode


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadImageError, match=r"gone\.jpg: no such file"):
        decode(tmp_path / "gone.jpg")


def test_a_name_that_is_not_text_can_be_printed(tmp_path):
    assert str(BadImageError("caf\udce9.jpg", "bad", "empty")).encode() == rb"caf\udce9.jpg: bad"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(BadImageError) as caught:
        decode(tmp_path / "pipe.jpg")
    assert caught.value.kind == "not_a_file"


def test_what_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    with pytest.raises(BadImageError, match=r"1\.jpg: permission denied") as caught:
        decode(tmp_path / "1.jpg")
    assert caught.value.kind == "no_permission"
