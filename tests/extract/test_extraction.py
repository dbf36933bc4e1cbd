"""What extract leaves in the cache: a run of the same keys computes nothing, and ends with the same weights."""

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from thaw.common.errors import UserError
from thaw.config.tool_schemas import ExtractConfig, RayConfig
from thaw.tools.extract import extract


def test_a_run_after_extraction_by_ray_computes_nothing_and_has_the_weights_of_one_that_did(
    finished_runs, tmp_path: Path
) -> None:
    commands = type(finished_runs.commands)(tmp_path)
    keys = (
        "dataset=image_folder", f"dataset.path={finished_runs.photos}", "backbone.image_size=64", "train.batch_size=8",
        "head.hidden=32", "finetune.head_epochs=3", "finetune.epochs=2", "optimizer.learning_rate=1e-3",
    )  # fmt: skip
    extracted = commands.run("scripts/extract.py", *keys, "on=ray", "workers=1")
    assert (extracted.code, extracted.err) == (0, "")
    assert re.search(r"^ray: 1 worker of \d+ threads? each on this machine$", extracted.out, re.MULTILINE)
    assert "  activations: 0 from the cache, 60 computed in " in extracted.out
    assert "in the cache: activations of 2 cuts, 120 rows, " in extracted.out
    assert not (commands.outputs / "runs").exists()

    again = commands.run("scripts/extract.py", *keys)
    assert (again.code, again.out.count("60 from the cache, 0 computed"), " computed in" in again.err) == (0, 2, False)

    trained = commands.run(*keys)
    assert trained.code == 0, trained.err
    assert trained.out.count("  activations: 60 from the cache, 0 computed in ") == 2
    own, other = trained.result(), finished_runs.finetuned.result()
    assert own["weights_sha256"] == other["weights_sha256"]
    assert own["metrics"] == other["metrics"]
    assert (own["cache"]["misses"], other["cache"]["misses"]) == (0, 60)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ExtractConfig(resume="a1b2c3"), "resume=a1b2c3 is for training"),
        (ExtractConfig(workers="2"), "workers is for on=ray, and this is on=here"),
        (ExtractConfig(threads=2), "threads is for on=ray"),
        (ExtractConfig(ray=RayConfig(address="auto")), "ray.address is for on=ray"),
        (ExtractConfig(on="ray", workers="all"), "workers=all is neither a number of processes nor auto"),
        (ExtractConfig(on="ray", workers="0"), "workers=0 is neither"),
        (ExtractConfig(on="ray", engine="tensorflow"), "on=ray computes with OpenVINO"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(config: ExtractConfig, said: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(said)}"):
        extract(config)


def test_bad_files_are_told_as_a_run_tells_them(commands, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    subprocess.run(["cp", "-r", str(photos), str(folder)], check=True)
    (folder / "apple" / "00.jpg").write_bytes((photos / "apple" / "00.jpg").read_bytes()[:500])
    keys = ("dataset=image_folder", f"dataset.path={folder}", f"cache.dir={tmp_path}/cache")
    told = [commands.run(*script, *keys) for script in ((), ("scripts/extract.py",))]
    assert [each.code for each in told] == [1, 1]
    run, extracted = (re.sub(r"the list: .*", "the list:", each.err) for each in told)
    assert extracted == run
    assert "1 of 60 images cannot be used" in extracted
    listed = (commands.outputs / "extract" / "bad_files.csv").read_text().splitlines()
    assert listed[1].startswith("apple/00.jpg,truncated,")


@pytest.mark.slow
def test_what_is_computed_stays_after_ctrl_c_and_a_killed_worker(commands, tmp_path: Path) -> None:
    """The real command on some thousand images: Ray's worker is killed, then Ctrl-C comes, then it goes on."""
    commands = type(commands)(tmp_path)
    keys = ("dataset=digits", "recipe=bottleneck", "backbone.image_size=224", "on=ray", "workers=1")
    process = commands.start("scripts/extract.py", *keys)
    wait_for_rows(commands.outputs)
    worker = worker_of(process.pid)
    subprocess.run(["kill", "-9", str(worker)], check=True)
    wait_for_rows(commands.outputs, more_than=rows_bytes(commands.outputs))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err.splitlines()[-1]) == (130, "interrupted")
    again = commands.run("scripts/extract.py", *keys)
    kept = re.search(r"activations: ([\d,]+) from the cache, ([\d,]+) computed", again.out)
    assert kept, again.err
    hits, misses = (int(number.replace(",", "")) for number in kept.groups())
    assert hits > 200
    assert hits + misses == 1797


def rows_bytes(outputs: Path) -> int:
    return sum(file.stat().st_size for file in (outputs / "cache").glob("*/*.index"))


def wait_for_rows(outputs: Path, more_than: int = 0) -> None:
    """Until rows are committed besides those of the converted network."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        keys = (outputs / "cache").glob("*/space.json")
        spaces = [file.parent for file in keys if "activations" in file.read_text()]
        if any(list(space.glob("*.index")) for space in spaces) and rows_bytes(outputs) > more_than:
            return
        time.sleep(0.1)
    raise AssertionError("no rows were committed")


def worker_of(pid: int) -> int:
    """The process of Ray that runs a shard, among the descendants of a process."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = stat.read_text().rpartition(") ")[2]
            parents[int(stat.parent.name)] = (int(rest.split()[1]), (stat.parent / "cmdline").read_text())
        except (OSError, ValueError, IndexError):
            continue

    def descends(child: int) -> bool:
        while child in parents:
            child = parents[child][0]
            if child == pid:
                return True
        return False

    (found,) = [child for child, (_, line) in parents.items() if line.startswith("ray::run_shard") and descends(child)]
    return found
