"""scripts/benchmark.py as a user runs it."""

import json

import pytest

TINY = (
    "repeats=1", "images=8", "step_images=32", "photos=40", "first_photos=20", "small_images=300", "image_size=75",
    "backbones=[efficientnet_lite0]", "epochs=2", "jobs=[1,2]", "growth=[20,40]",
)  # fmt: skip
PARTS = [
    "chip", "extract efficientnet_lite0", "jpeg efficientnet_lite0", "step efficientnet_lite0", "stages", "first",
    "rerun", "sweep", "scratch", "determinism", "growth",
]  # fmt: skip


def test_an_unknown_part_is_answered_with_the_nearest(commands) -> None:
    ran = commands.run("scripts/benchmark.py", "what=extrct")
    assert ran.code == 1
    assert ran.err.startswith("error: what=extrct is not a choice. Did you mean 'extract'?")


@pytest.mark.slow
def test_everything_is_measured_and_nothing_else_is_left(commands, tmp_path) -> None:
    output = tmp_path / "out (1)"
    process = commands.start("scripts/benchmark.py", *TINY, f"output={output}")
    out, err = process.communicate(timeout=1500)
    assert process.returncode == 0, out + err
    found = json.loads((output / "benchmark.json").read_text())
    assert list(found["parts"]) == PARTS
    assert all(row["thaw"] > 0 for part in found["parts"].values() for row in part["rows"])
    assert all(row["limit"] > 0 for part in found["parts"].values() for row in part["limits"])
    shares = [row["what"] for part in found["parts"].values() for row in part["limits"] if row["share"] is not None]
    assert {what.split(":")[0] for what in shares} == {"extract", "step"}
    assert {point[0] for point in found["parts"]["growth"]["lines"]["images"]["Keras script"]} == {20, 40}
    sides = {entry["side"] for entry in found["parts"]["stages"]["raw"]}
    assert sides == {"Keras", "thaw"}
    assert sorted(file.name for file in output.iterdir()) == [
        "benchmark.json", "benchmark.md", "benchmark.png", "logs",
    ]  # fmt: skip
    assert not commands.outputs.exists() or not list(commands.outputs.glob("runs"))
