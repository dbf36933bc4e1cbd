"""The page and the tables of a comparison: every number, whatever the names are."""

import csv
import io
import json
from pathlib import Path

import pytest

from thaw.common.files import write_json
from thaw.compare.comparison_page import comparison_page, pairs_by_certainty
from thaw.compare.comparison_tables import comparison_csv, comparison_json, pair_line, terminal_table
from thaw.compare.run_comparison import compare_runs

from .made_runs import images, made_run, rights
from .test_setting_figures import planted

HOSTILE = "</script><img src=x onerror=alert(1)>\n$\\ \udce9"


def hostile():
    test = images(2, label=HOSTILE) + images(2, label="dog")
    classes = (HOSTILE, "dog")
    history = {"val_accuracy": {1: 0.5, 2: float("nan")}, "val_loss": {1: 1.0}}
    a = made_run(rights("1011"), run_id="a" * 32, recipe="=cmd", test=test, class_names=classes, history=history)
    return [a, made_run(rights("1111"), run_id="b" * 32, recipe=HOSTILE, test=test, class_names=classes)]


def test_names_are_escaped_and_the_page_is_utf_8() -> None:
    page = comparison_page(compare_runs(hostile()))
    page.encode()
    assert "<img src=x" not in page
    assert "alert(1)" in page
    assert page.count("<script") == page.count("</script>")
    assert "NaN" not in page.partition('<script type="application/json" id="chart-themes">')[0]


def test_the_page_has_the_sentence_the_figures_and_the_pairs() -> None:
    comparison = compare_runs(planted(3, 14, 60, 23))
    page = comparison_page(comparison)
    for text in (comparison.sentence, "0.740", "0.646 to 0.816", "+11.0", "aaaaaaaa", "0.013", "17 of 100 test images"):
        assert text in page, text
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_many_settings_stay_readable() -> None:
    runs = [made_run(rights("1" * n + "0" * (40 - n)), run_id=f"{n:032}", rate=n, seconds=n) for n in range(1, 31)]
    comparison = compare_runs(runs)
    page = comparison_page(comparison)
    assert "30 settings compared" in page
    assert "The first 30 of 435 pairs; all of them are in comparison.json." in page
    assert len(page) < 2_000_000


def test_pairs_come_by_their_certainty() -> None:
    runs = [made_run(rights("1" * n + "0" * (40 - n)), run_id=str(n), rate=n, seconds=n) for n in (10, 11, 30)]
    comparison = compare_runs(runs)
    lines = [pair_line(comparison, pair) for pair in pairs_by_certainty(comparison)]
    assert lines[0].startswith("learning_rate=10.0 against learning_rate=30.0: +50.0 points (")
    assert lines[2].startswith("learning_rate=10.0 against learning_rate=11.0: +2.5 points (")
    assert lines[2].endswith("p = 1.00")


def test_json_has_every_number_and_no_nan(tmp_path: Path) -> None:
    comparison = compare_runs([*planted(3, 14, 60, 23), *[
        made_run(None, run_id="c", recipe="scratch", test=images(100), metrics={"test/loss": float("nan")})
    ]])  # fmt: skip
    write_json(comparison_json(comparison), tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["sentence"] == comparison.sentence
    assert [(s["setting"], s["test_accuracy"]) for s in content["settings"]] == [
        ("bottleneck", 0.63), ("finetune", 0.74), ("scratch", None),
    ]  # fmt: skip
    (pair,) = content["pairs"]
    assert (pair["first"], pair["second"], pair["only_a"], pair["only_b"]) == ("bottleneck", "finetune", 3, 14)
    assert pair["significant"] is True
    assert content["config"] == [
        {"key": "recipe", "values": {"bottleneck": "bottleneck", "finetune": "finetune", "scratch": "scratch"}}
    ]
    assert content["disagreements"]["total"] == 17
    assert content["disagreements"]["shown"][0]["answers"]["bottleneck"]["predicted"] in ("cat", "dog")


def test_csv_is_no_formula_and_best_first() -> None:
    rows = list(csv.DictReader(io.StringIO(comparison_csv(compare_runs(hostile())))))
    assert [row["setting"][-6:] for row in rows] == [r"\udce9", "'=cmd"]
    assert [float(row["test_accuracy"]) for row in rows] == [1.0, 0.75]
    assert rows[0]["interval"] == "95 % Wilson"


def test_the_terminal_s_table_tells_runs_apart() -> None:
    table = terminal_table(compare_runs(planted(3, 14, 60, 23)))
    assert list(table.columns[1].cells) == ["bbbbbbbb finetune-photos", "aaaaaaaa bottleneck-photos"]
    seeds = [made_run(rights("10"), run_id=str(i), seed=i) for i in range(2)]
    assert list(terminal_table(compare_runs(seeds)).columns[1].cells) == ["2 seeds"]


@pytest.mark.parametrize("settings", [1, 2])
def test_a_page_without_curves_or_pairs_is_a_page(settings: int) -> None:
    runs = [made_run(rights("10"), run_id="a", seed=0), made_run(rights("11"), run_id="b", seed=1)]
    runs += [made_run(None, run_id="c", recipe="scratch", test=images(2))] * (settings - 1)
    assert "<html" in comparison_page(compare_runs(runs))
