"""The head alone takes the place of thawed layers that made validation worse, also in a resumed run."""

import re
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Commands, Ran
from thaw.results.model_card import CARD_FILE
from thaw.training.head_fallback import is_worse
from thaw.training.head_snapshot import FILE_NAME, load_head_alone

# At this rate a few steps bring the network to chance.
DIVERGING = (
    "dataset=digits", "dataset.limit_per_class=20", "finetune.freeze=block5c", "finetune.epochs=2",
    "optimizer.learning_rate=0.05", "train.batch_size=16", "report=none",
)  # fmt: skip


@pytest.fixture(scope="module")
def fallen_back(commands: Commands) -> Ran:
    ran = commands.run("train.py", *DIVERGING)
    assert ran.code == 0, ran.err
    return ran


def test_the_head_alone_is_kept_and_said_to_be(commands: Commands, fallen_back: Ran) -> None:
    result = fallen_back.result()
    assert [stage["kept"] for stage in result["stages"]] == [True, False]
    assert any(line.startswith("the head alone is kept: validation accuracy 0.8") for line in result["verdict"])
    assert "points against the head alone" not in fallen_back.out, "it would be compared with itself"
    folder = Path(result["model"]).parents[1]
    alone = load_head_alone(folder, result["run_id"], result["data_sha256"])
    assert alone is not None
    history = [line for line in fallen_back.out.splitlines() if " epoch " in line]
    assert f"accuracy {result['metrics']['val/accuracy']:.4f} · lr 0 " in history[0], "stage head's one epoch"
    card = (folder / "model" / CARD_FILE).read_text()
    assert re.search(r"^- stage thaw: .* · left out, as validation accuracy is better without it$", card, re.MULTILINE)
    assert "parity: 32 of 32 images get the same class from the kept network" in fallen_back.out


def test_a_network_that_stays_frozen_has_a_head_that_is_solved_for_once(commands: Commands) -> None:
    ran = commands.run("train.py", "dataset=digits", "dataset.limit_per_class=12", "finetune.freeze=all", "report=none")
    assert ran.code == 0, ran.err
    assert ran.out.count("solving for") == 1
    assert [stage["name"] for stage in ran.result()["stages"]] == ["head"]


def test_without_the_key_what_was_thawed_is_kept(commands: Commands, fallen_back: Ran) -> None:
    ran = commands.run("train.py", *DIVERGING, "finetune.fallback=false")
    assert ran.code == 0, ran.err
    assert [stage["kept"] for stage in ran.result()["stages"]] == [True, True]
    assert ran.result()["metrics"]["val/accuracy"] < 0.5 < fallen_back.result()["metrics"]["val/accuracy"]
    assert "worse than the head alone" in ran.out


def test_a_run_that_was_killed_while_thawing_falls_back_to_the_same_network(
    commands: Commands, fallen_back: Ran
) -> None:
    folder = commands.folder / "killed"
    commands.start_and_stop(folder, "stage1-epoch1-*.npz", signal.SIGKILL, *DIVERGING)
    ran = commands.run("train.py", f"resume={folder}")
    assert ran.code == 0, ran.err
    assert "resumed: stage thaw" in ran.out
    assert ran.result()["weights_sha256"] == fallen_back.result()["weights_sha256"]
    assert ran.result()["metrics"] == fallen_back.result()["metrics"]


@pytest.mark.parametrize(
    ("lost", "gained", "worse"), [(10, 10, False), (3, 1, False), (2, 0, True), (14, 8, True), (0, 9, False)]
)
def test_worse_is_more_than_a_standard_error(lost: int, gained: int, worse: bool) -> None:
    before = np.array([True] * lost + [False] * gained + [True] * 50 + [False] * 5)
    after = np.array([False] * lost + [True] * gained + [True] * 50 + [False] * 5)
    assert is_worse(after, before) is worse


def test_where_classes_count_the_same_a_rare_one_weighs_more() -> None:
    weights = np.array([0.01] * 100 + [0.25] * 4)  # 100 images of one class, 4 of another
    before = np.array([True] * 100 + [False] * 4)
    after = np.array([False] * 10 + [True] * 90 + [True] * 4)
    assert is_worse(after, before)
    assert not is_worse(after, before, weights)
    assert is_worse(before, after, weights)


def test_all_stages_behind_the_head_are_left_out_in_file_card_page_store_and_lineage(commands: Commands) -> None:
    stages = (
        "{name:head,freeze:all,epochs:1},{name:top,freeze:block6d,epochs:1,learning_rate:0.05},"
        "{name:deep,freeze:block5c,epochs:1,learning_rate:0.05}"
    )
    arguments = [each for each in DIVERGING if not each.startswith(("finetune.", "report"))]
    ran = commands.run("train.py", *arguments, f"finetune.stages=[{stages}]", "train.sampling=balanced", "report=short")
    assert ran.code == 0, ran.err
    result = ran.result()
    assert [stage["kept"] for stage in result["stages"]] == [True, False, False]
    assert any(line.startswith("the head alone is kept: validation balanced accuracy 0.") for line in result["verdict"])
    folder = Path(result["model"]).parents[1]
    assert (folder / "model" / CARD_FILE).read_text().count("left out, as validation balanced accuracy is better") == 2
    page = (folder / "report" / "report.html").read_text()
    assert page.count("none, the head alone is kept") == page.count("left out: the network is the head alone") == 2
    assert "Features before thawing" not in page, "they are those at the end"
    client = commands.client()
    assert client.get_run(result["run_id"]).data.tags["thaw.kept"] == "head"
    begun = commands.run(
        "train.py", *DIVERGING, f"backbone.weights={result['run_id']}", "optimizer.learning_rate=1e-4", "seed=1"
    )
    assert begun.code == 0, begun.err
    assert "the backbone stayed frozen" in begun.out


def test_the_file_of_the_head_alone_is_missed_aloud(commands: Commands) -> None:
    folder = commands.folder / "robbed"
    commands.start_and_stop(folder, "stage1-epoch1-*.npz", signal.SIGKILL, *DIVERGING)
    (folder / FILE_NAME).unlink()
    ran = commands.run("train.py", f"resume={folder}")
    assert ran.code == 0, ran.err
    assert f"note: {FILE_NAME} is missing or damaged: what was thawed is kept, and not compared" in ran.out
    assert [stage["kept"] for stage in ran.result()["stages"]] == [True, True]


def test_a_sweep_says_that_its_best_job_is_a_head_alone(commands: Commands) -> None:
    ran = commands.run("train.py", "-m", *DIVERGING, "head.dropout=0.1,0.2")
    assert ran.code == 0, ran.err
    assert re.search(r"^sweep .* best 0\.8.*head\.dropout=0\.1 · the head alone was kept$", ran.out, re.MULTILINE)
    (page,) = commands.outputs.glob("sweeps/*/*/sweep.html")
    assert "network kept" in page.read_text()
    assert "the head alone" in page.read_text()
