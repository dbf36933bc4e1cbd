"""What Hydra finds wrong is one line with what to do about it."""

import pytest


def test_a_mistake_in_a_file_is_told_as_one_in_an_argument(error_of, tmp_path) -> None:
    file = tmp_path / "conf" / "experiment" / "x.yaml"
    file.parent.mkdir(parents=True)
    for text, said in (
        ("seed: abc", "seed: Value 'abc'"),
        ("sead: 3", "sead is not a key. Did you mean 'seed'?"),
        ("head: {hiden: 3}", "head.hiden is not a key. Did you mean 'head.hidden'?"),
        ("head: 3", "head='3' is a text where a section is expected"),
    ):
        file.write_text(f"# @package _global_\n{text}\n")
        assert error_of([f"--config-dir={tmp_path}/conf", "experiment=x"]).startswith(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "optimizer.learning_rate=interval(1e-5,1e-3)"], "optimizer.learning_rate=interval(1e-5,1e-3) has no"),
        (["-m", "backbone=glob(xyz*)"], "backbone=glob(xyz*): there is no such value"),
        (["seed=1,2"], "seed=1,2 is several values: -m trains with each"),
        (["optimizer.learning_rate=choice(1e-5,1e-3)"], "Sweep parameters 'optimizer.learning_rate=choice("),
        (["hydra/launcher=dask"], "hydra/launcher=dask is not installed: a launcher is a plugin of Hydra"),
        (["-m", "hydra/sweeper=optuna", "seed=1"], "hydra/sweeper=optuna is not installed"),
        (["--config-name", "mine"], "--config-name and --config-path are refused"),
        (["-cn", "mine"], "--config-name and --config-path are refused"),
        (["-cp", "mine"], "--config-name and --config-path are refused"),
        (["--config-dir", "absent"], "--config-dir=absent is no folder"),
        (["--foo"], "unrecognized arguments: --foo"),
        (["--cfg", "x"], "argument --cfg/-c: invalid choice: 'x'"),
        (["seed = 3"], "seed = 3 is not understood: write key=value, without spaces"),
        (["seed", "=", "3"], "seed is not understood"),
        (["~dataset"], "~dataset is refused"),
        (["+seed=3"], "seed: Could not append to config"),
        (["hydra.mode=FOO"], "hydra.mode: Invalid value 'FOO'"),
        (["-m", "hydra.sweeper.max_batch_size=0", "seed=1,2"], "hydra.sweeper.max_batch_size is not a key"),
    ],
)
def test_a_way_of_hydras_that_does_not_work_is_one_line(error_of, arguments: list[str], said: str) -> None:
    assert error_of(arguments).startswith(said)


def test_a_file_without_its_package_line_is_told_the_line(error_of, tmp_path) -> None:
    file = tmp_path / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    for text in ("seed: 3\n", "defaults: [override /augment: none]\nhead: {hidden: 3}\n"):
        file.write_text(text)
        for sweep in ([], ["-m", "seed=1,2"]):
            said = error_of([*sweep, f"--config-dir={tmp_path}/conf", "experiment=mine"])
            assert said.startswith("experiment/mine.yaml lacks its first line: # @package _global_")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (
            "seed=${hydra:job.num}",
            "seed=${hydra:job.num}: only the runs of a sweep have a number. Add -m, or give seed a value",
        ),
        ("dataset.path=[a,b]", "dataset.path=[a,b] is a list, and dataset.path takes one value here"),
        (
            "+experiment=quickstart",
            "+experiment=quickstart: experiment has a choice already, and + adds another. Write experiment=quickstart",
        ),
        (
            "+finetune.head_optimizer=sgd",
            "+finetune.head_optimizer=sgd: finetune.head_optimizer has a choice already, and + adds another. "
            "Write finetune.head_optimizer=sgd",
        ),
        (
            "tracking.experiment=${oc.env:NOT_SET}",
            "tracking.experiment: KeyError raised while resolving interpolation: \"Environment variable 'NOT_SET' not "
            'found"',
        ),
    ],
)
def test_what_hydra_says_in_its_own_terms_is_one_line_with_the_remedy(commands, argument: str, said: str) -> None:
    ran = commands.run(argument)
    assert (ran.code, ran.out, ran.err) == (1, "", f"error: {said}\n")
