"""A sweep's runs are told apart by the keys that vary."""

from pathlib import Path

from thaw.cli.swept_keys import keys_of_job, swept_keys

TYPED = ["recipe=bottleneck,finetune", "seed=range(3)", "dataset.path='a,b'", "optimizer@finetune.head_optimizer=adam"]


def test_keys_with_several_values_are_swept() -> None:
    assert swept_keys(TYPED) == {"recipe", "seed"}


def test_a_job_in_another_process_finds_what_varies(tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").write_text(
        "hydra:\n  overrides:\n    task:\n" + "".join(f'    - "{typed}"\n' for typed in TYPED) + "x: ${hydra:y}\n"
    )
    job = ["recipe=finetune", "seed=2", "dataset.path='a,b'", "finetune.freeze=0.5", TYPED[-1]]
    assert keys_of_job(tmp_path, job) == {"recipe", "seed", "finetune.freeze"}, "a sweeper of its own adds keys"


def test_without_the_sweeps_file_all_keys_count(tmp_path: Path) -> None:
    assert keys_of_job(tmp_path, ["seed=2"]) == {"seed"}
