"""Which keys of predict go together."""

from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.config.tool_schemas import PredictConfig
from thaw.tools.predict_options import check_options


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"features": "mixed5"}, "features=mixed5 needs a file to write to: output=FILE.npy or output=FILE.parquet"),
        ({"features": "mixed5", "output": "a.csv"}, r"writes \.npy or \.parquet, by the name's end: output=a\.csv is"),
        ({"features": "pooled", "output": "a.npy", "chart": "a.png"}, r"predicts nothing: leave out chart=a\.png, or"),
        (
            {"features": "pooled", "output": "a.npy", "format": "csv", "top": 3, "calibrated": True},
            "leave out calibrated=True, format=csv, top=3, or predict in a call of its own",
        ),
        ({"output": "a.npy"}, r"output=a\.npy is a name for features: add features=LAYER"),
        ({"output": "a.Parquet", "format": "json"}, r"format=json and output=a\.Parquet contradict each other"),
        ({"format": "parquet"}, r"format=parquet is written to a file: output=FILE\.parquet"),
        ({"output": "there"}, "output=there is a folder: give the name of a file in it"),
        (
            {"features": "pooled", "output": "a.npy", "tta": "flip", "reject_below": 0.5, "model": ["a", "b"]},
            r"those of one network, and model=a, b are several.*leave out tta=flip, reject_below=0\.5, or",
        ),
        ({"explain": True, "tta": "5crop"}, "shows one view of a picture, and tta=5crop are several"),
        ({"output": "absent/a.csv"}, "output=absent/a.csv: its folder does not exist; make it first"),
        ({"features": "pooled", "output": "absent/a.npy"}, "its folder does not exist; make it first"),
        ({"chart": "absent/a.png"}, "chart=absent/a.png: its folder does not exist; make it first"),
        ({"features": "pooled", "output": "a.npy", "explain": True}, "predicts nothing: leave out explain=True, or"),
        ({"calibrated": True}, "a published network has no temperature: give model=RUN, or leave calibrated out"),
        ({"explain_output": "there"}, "explain_output=there is where explain=true writes: add explain=true"),
        ({"chart": "a.jpg"}, r"give a name that ends in \.png"),
    ],
)
def test_keys_that_contradict_each_other_are_refused_before_any_work(
    keys: dict, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match=f"(?s){said}"):
        check_options(PredictConfig(**keys))


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"output": "a.csv", "chart": "a.png", "top": 3, "calibrated": True, "model": "abc123"},
        {"output": "a.txt", "format": "json"}, {"output": "a.parquet"}, {"output": "a.jsonl", "format": "jsonl"},
        {"model": ["a", "b"], "tta": "flip", "chart": "a.png", "reject_below": 0.5},
        {"explain": True, "explain_output": "there"}, {"outputs": "/o", "explain_output": "/o/explained"},
        {"features": "mixed5", "output": "a.NPY"}, {"features": "pooled", "output": "a.parquet", "batch_size": 8},
    ],
)  # fmt: skip
def test_other_keys_go_together(keys: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_options(PredictConfig(**keys))
