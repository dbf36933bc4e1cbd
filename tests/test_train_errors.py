"""Runs that are stopped or cannot start: exit code, message, and what the store has."""

import signal
import time

import pytest


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), (signal.SIGINT, 130)]
)
def test_a_stopped_run_is_marked_killed(commands, number: int, code: int) -> None:
    process = commands.start(
        "recipe=scratch", "dataset=digits", "scratch.epochs=1000", f"tracking.experiment=stopped-{code}"
    )
    for line in process.stdout:
        if " epoch 2 " in line:
            break
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    client = commands.client()
    (run,) = client.search_runs([client.get_experiment_by_name(f"stopped-{code}").experiment_id])
    assert run.info.status == "KILLED"
    assert run.data.tags["thaw.reason"]
    assert run.data.tags["thaw.stage"] == "scratch"


def test_offline_the_error_says_how_to_give_a_file(commands, photos) -> None:
    ran = commands.run("backbone=inceptionv3", "finetune.freeze=172", "dataset=digits", "backbone.image_size=75")
    assert ran.code == 1
    assert "ImageNet weights of inceptionv3 could not be downloaded from https://" in ran.err
    assert "backbone.weights=FILE.h5" in ran.err
    assert "Traceback" not in ran.err


def test_a_bad_picture_is_named_before_training(commands, photos) -> None:
    folder = commands.folder / "with bad"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for source in sorted((photos / "apple").glob("*.jpg"))[:5]:
            (folder / name / source.name).write_bytes(source.read_bytes())
    whole = (folder / "a" / "00.jpg").read_bytes()
    (folder / "a" / "00.jpg").write_bytes(whole[: len(whole) // 2])
    started = time.perf_counter()
    ran = commands.run("dataset=image_folder", f"dataset.path={folder}")
    assert ran.code == 1
    assert "1 of 10 images cannot be used" in ran.err
    assert str(folder / "a" / "00.jpg") in ran.err
    assert "Traceback" not in ran.err
    assert "network:" not in ran.out, time.perf_counter() - started
