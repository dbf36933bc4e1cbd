"""Ratios and targets of the benchmark's rows, and how they are shown."""

import pytest

from thaw_lab.benchmark.part_result import COLUMNS, LIMIT_COLUMNS, BenchmarkRow, LimitRow
from thaw_lab.benchmark.parts.two_stages import accuracy_margin
from thaw_lab.tables import markdown_table


def test_more_images_a_second_and_fewer_seconds_are_faster() -> None:
    assert BenchmarkRow("extract", "a", "images/s", 10.0, 35.0).ratio == 3.5
    assert BenchmarkRow("stages", "a", "s", 35.0, 10.0).ratio == 3.5
    assert BenchmarkRow("growth", "a", "MB", 1000.0, 2000.0).ratio == 0.5
    assert BenchmarkRow("rerun", "a", "s", None, 10.0).ratio is None
    assert BenchmarkRow("stages", "a", "accuracy", 0.9, 0.8).ratio is None


@pytest.mark.parametrize(
    ("row", "reached"),
    [
        (BenchmarkRow("extract", "a", "images/s", 10.0, 30.0, 3.0), True),
        (BenchmarkRow("extract", "a", "images/s", 10.0, 29.9, 3.0), False),
        (BenchmarkRow("extract", "a", "images/s", 10.0, 29.9), None),
        (BenchmarkRow("rerun", "a", "s", None, 0.99, 1.0), True),
        (BenchmarkRow("rerun", "a", "s", None, 1.0, 1.0), False),
        (BenchmarkRow("stages", "a", "accuracy", 0.90, 0.93, 0.04), True),
        (BenchmarkRow("stages", "a", "accuracy", 0.90, 0.85, 0.04), False),
    ],
)
def test_targets(row, reached) -> None:
    assert row.reached is reached


def test_a_row_says_what_was_aimed_at_and_whether_it_was_reached() -> None:
    assert BenchmarkRow("extract", "vgg16", "images/s", 6.0, 1234.4, 3.0).cells() == [
        "vgg16", "Keras float32", "6.00 images/s", "1,234 images/s", "205.73x", "≥ 3x", "yes",
    ]  # fmt: skip
    assert BenchmarkRow("rerun", "whole", "s", None, 10.24, 5.0).cells() == [
        "whole",
        "",
        "",
        "10.2 s",
        "",
        "< 5 s",
        "NO",
    ]
    assert BenchmarkRow("stages", "acc", "accuracy", 0.9, 0.91, 0.05).cells() == [
        "acc",
        "Keras float32",
        "0.900",
        "0.910",
        "",
        "± 0.050",
        "yes",
    ]


def test_a_share_is_arithmetic_in_a_second_by_the_limit() -> None:
    row = LimitRow("step", "resnet50", "bfloat16", "GFLOP/s", 400.0, 60.0, 4.0, 0.6)
    assert (row.used, row.share, row.reached) == (240.0, 0.6, True)
    assert LimitRow("step", "resnet50", "bfloat16", "GFLOP/s", 401.0, 60.0, 4.0, 0.6).reached is False
    assert LimitRow("step", "resnet50", "bfloat16", "GFLOP/s", 400.0, 60.0, 4.0).reached is None


def test_a_limit_alone_has_no_share() -> None:
    row = LimitRow("chip", "memory copy", "", "GB/s", 31.42)
    assert (row.used, row.share, row.reached) == (None, None, None)
    assert dict(zip(LIMIT_COLUMNS, row.cells(), strict=True)) == {
        **dict.fromkeys(LIMIT_COLUMNS, ""), "what": "memory copy", "limit": "31.4 GB/s",
    }  # fmt: skip


def test_markdown_has_a_line_a_row_and_as_many_cells_as_columns() -> None:
    rows = [BenchmarkRow("rerun", "whole", "s", None, 10.24, 5.0), BenchmarkRow("extract", "b", "images/s", 1.0, 2.0)]
    lines = markdown_table(COLUMNS, [row.cells() for row in rows]).splitlines()
    assert lines[0] == "| what | against | its figure | thaw | ratio | target | reached |"
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert lines[3] == "| b | Keras float32 | 1.00 images/s | 2.00 images/s | 2.00x |  |  |"
    assert all(line.count("|") == len(COLUMNS) + 1 for line in lines)


def test_the_margin_of_chance_is_smaller_with_more_test_images() -> None:
    assert accuracy_margin(0.9, 100) == pytest.approx(0.0849, abs=1e-4)
    assert accuracy_margin(0.9, 400) == pytest.approx(accuracy_margin(0.9, 100) / 2)
    assert accuracy_margin(1.0, 50) == 0.02
