"""--help lists every choice and key, with what a run would use."""

import pytest


def test_help_lists_every_choice_and_key(commands) -> None:
    helped = commands.run("--help")
    assert helped.code == 0
    for part in ("backbone= cnn convnextbase", "recipe= auto bottleneck finetune scratch", "finetune.freeze="):
        assert part in helped.out


def test_help_shows_what_a_run_would_use(commands) -> None:
    """conf/ has the last word over the schema: of optimizers, and of the backbone's boundary."""
    lines = [line.split()[0] for line in commands.run("--help").out.splitlines() if line.startswith("  ")]
    for shown in (
        "optimizer.name=adamw", "optimizer.weight_decay=0.004", "finetune.head_optimizer.name=rmsprop",
        "finetune.head_optimizer.learning_rate=0.001", "finetune.head_optimizer.momentum=null",
        "backbone.freeze=block3b", "finetune.freeze=${backbone.freeze}", "deterministic=true", "finetune.stages=[]",
    ):  # fmt: skip
        assert shown in lines


@pytest.mark.parametrize(
    ("script", "shown", "choices"),
    [("cache", "cache.max_gb=20.0", False), ("predict", "top=5", True), ("layers", "format=table", True),
     ("benchmark", "repeats=3", False)],
)  # fmt: skip
def test_help_of_a_script_has_a_heading_only_over_something(commands, script: str, shown: str, choices: bool) -> None:
    helped = commands.run(f"scripts/{script}.py", "--help")
    assert helped.code == 0, helped.err
    assert f"  {shown} " in helped.out
    assert ("Choices" in helped.out) == choices
    assert ("  backbone= cnn" in helped.out) == choices
