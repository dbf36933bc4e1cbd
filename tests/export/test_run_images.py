"""How many of the run's images may be gone."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from thaw.common.errors import UserError
from thaw.config.schema import DatasetConfig
from thaw.export import run_images

NAMES = [f"cat/{number}.jpg" for number in range(100)]


def check(missing: int, kind: str) -> list[int]:
    found: Any = SimpleNamespace(indices=np.arange(missing, 100), catalog=SimpleNamespace(names=NAMES))
    wanted: Any = dict.fromkeys(NAMES)
    return run_images._check_enough(found, wanted, kind, DatasetConfig(path="photos")).tolist()


def test_a_few_test_images_may_be_gone_and_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(5, "test") == list(range(5, 100))
    assert "note: 5 of 100 test images of the run are gone or have other content now" in capsys.readouterr().out


def test_with_over_five_percent_gone_an_export_is_refused_with_an_example() -> None:
    with pytest.raises(UserError, match=r"^6 of 100 test images .* no longer in photos, .* such as cat/0\.jpg, and"):
        check(6, "test")
    assert len(check(50, "training")) == 50
    with pytest.raises(UserError, match=r"^51 of 100 training images"):
        check(51, "training")
