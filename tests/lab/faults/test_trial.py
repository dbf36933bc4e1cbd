"""What the table says of trials."""

from rich.console import Console

from thaw_lab.faults.trial import Trial, fault_rows, fault_table


def test_a_row_counts_what_held_and_says_what_did_not() -> None:
    (row,) = fault_rows([Trial("kill", "identical")] * 3 + [Trial("kill", "identical", ["weights differ", "no model"])])
    assert (row.trials, row.held) == (4, 3)
    assert row.seen == "3: identical; 1: weights differ"


def test_rows_of_one_kind_stay_together_by_rank() -> None:
    names = [("none", 0), ("kill: late", 2), ("torn", 0), ("kill: early", 1), ("kill: late", 2)]
    rows = fault_rows(Trial(fault, "identical", rank=rank) for fault, rank in names)
    assert [(row.fault, row.trials) for row in rows] == [
        ("none", 1),
        ("kill: early", 1),
        ("kill: late", 2),
        ("torn", 1),
    ]


def test_one_trial_may_stand_for_eight_processes() -> None:
    (row,) = fault_rows([Trial("together", "identical", count=8)])
    assert (row.trials, row.held, row.seen) == (8, 8, "identical")


def test_what_was_skipped_is_no_trial_and_says_why() -> None:
    rows = fault_rows([Trial("disk full", "skipped: needs root", skipped=True), Trial("none", "identical")])
    assert [(row.fault, row.trials, row.held) for row in rows] == [("disk full", 0, 0), ("none", 1, 1)]
    console = Console(width=120)
    with console.capture() as shown:
        console.print(fault_table(rows))
    assert "skipped: needs root" in shown.get()
