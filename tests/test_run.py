"""What the spine itself decides."""

from pathlib import Path

import pytest

from thaw import tracking
from thaw.common.errors import UserError
from thaw.common.hardware import Hardware
from thaw.config.job import Job
from thaw.config.schema import Config
from thaw.run import run


@pytest.mark.parametrize(
    ("config", "hardware", "said"),
    [
        (Config(engine="openvino", precision="float16"), Hardware(True, True, False), "does not compute in float16"),
        (Config(engine="openvino"), Hardware(False, True, False), "the package openvino is not installed"),
    ],
)
def test_what_the_machine_cannot_do_is_refused_before_the_data_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config, hardware: Hardware, said: str
) -> None:
    monkeypatch.setattr("thaw.frozen.configured_engine.detect_processor", lambda: hardware)
    monkeypatch.setattr(tracking, "start_run", None)  # called, it would raise TypeError
    with pytest.raises(UserError, match=said):
        run(config, Job(tmp_path, tmp_path))
