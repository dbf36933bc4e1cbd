"""Keys that contradict a run's stages are refused; keys of its command that nothing reads are named; defaults never."""

from pathlib import Path

import hydra
import pytest
from hydra.core.config_store import ConfigStore

from thaw.cli.argument_quoting import quote_texts
from thaw.cli.compose import to_config
from thaw.common.errors import UserError
from thaw.config import checks, key_conflicts
from thaw.config.schema import Config

CONF = Path(__file__).parents[2] / "conf"
STAGES = "finetune.stages=[{name:a,freeze:all,epochs:2},{name:b,freeze:block6c,epochs:3,learning_rate:1e-3}]"


def composed(*arguments: str) -> Config:
    ConfigStore.instance().store(name="schema", node=Config)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return to_config(hydra.compose("config", quote_texts(list(arguments), Config)), Config)


def notes(*arguments: str) -> list[str]:
    config = composed(*arguments)
    assert not list(key_conflicts.contradictions(config))
    return key_conflicts.no_effect_notes(config, quote_texts(list(arguments), Config))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("optimizer.warmup_epochs=5", "finetune.epochs=5"), "optimizer.warmup_epochs=5 and finetune.epochs=5: "),
        (("finetune.head_optimizer.warmup_epochs=4",), "finetune.head_optimizer.warmup_epochs=4 and finetune.head_epo"),
        (("recipe=bottleneck", "optimizer.warmup_epochs=20"), "optimizer.warmup_epochs=20 and bottleneck.epochs=20"),
        (("recipe=scratch", "optimizer.warmup_epochs=30.5"), "optimizer.warmup_epochs=30.5 and scratch.epochs=30"),
        ((STAGES, "optimizer.warmup_epochs=3"), "optimizer.warmup_epochs=3 and finetune.stages[1].epochs=3"),
        ((STAGES, "finetune.head_optimizer.warmup_epochs=2"), "warmup_epochs=2 and finetune.stages[0].epochs=2"),
        (
            ("finetune.stages=[{name:a,epochs:2,optimizer:{warmup_epochs:9}}]",),
            "finetune.stages[0].optimizer.warmup_epochs=9 and finetune.stages[0].epochs=2",
        ),
        (
            ("optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"),
            "optimizer.nesterov=true needs a momentum",
        ),
        (("distribute=mirrored", "optimizer.ema=0.99"), "optimizer.ema=0.99 averages the weights of one device"),
        (("distribute=mirrored", "training_step=folded"), "training_step=folded for CPUs: leave training_step out, or"),
        (
            ("head=logistic", "recipe=scratch"),
            "head=logistic is solved for behind frozen layers, and recipe=scratch has none",
        ),
        (("tracking.register=a/b",), "tracking.register=a/b cannot be a registered model's name: a name has no /"),
        (("tracking.register=..",), "cannot be a registered model's name: a name is not empty"),
        (("tracking.register=x", "tracking.log_model=false"), "tracking.log_model=false keeps none there"),
        (("tracking.register=x", "tracking.complete=none"), "tracking.complete=none keeps none there"),
        (
            ("precision=draft", "frozen_precision=bfloat16"),
            "precision=draft chooses the precision of frozen layers, and frozen_precision=bfloat16 does too",
        ),
        (
            ("finetune.stages=[{name:a,epochs:2,optimizer:{name:sgd,nesterov:true}}]",),
            "finetune.stages[0].optimizer.nesterov=true needs a momentum",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_refused_with_both(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError) as refused:
        checks.check_config(composed(*arguments), new_run=True)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("recipe=bottleneck", "finetune.epochs=9", "finetune.freeze=all"),
            "note: finetune.epochs, finetune.freeze have no effect: recipe=bottleneck",
        ),
        (("recipe=bottleneck", "finetune.head_optimizer=adam"), "note: finetune.head_optimizer has no effect: recipe="),
        (("bottleneck.epochs=9",), "note: bottleneck.epochs has no effect: recipe=finetune"),
        ((STAGES, "finetune.epochs=9"), "note: finetune.epochs has no effect: finetune.stages takes its place"),
        (
            ("finetune.stages=[{name:b,freeze:block6c,epochs:3}]", "finetune.head_optimizer.learning_rate=0.1"),
            "note: finetune.head_optimizer.learning_rate has no effect: no stage trains with it",
        ),
        ((STAGES, "optimizer.learning_rate=0.1"), "note: optimizer.learning_rate has no effect: every stage that"),
        (("optimizer.plateau_factor=0.5",), "note: optimizer.plateau_factor has no effect: optimizer.schedule=cosine"),
        (
            ("optimizer.schedule=cosine", "optimizer.plateau_patience=1"),
            "note: optimizer.plateau_patience has no effect: optimizer.schedule=cosine",
        ),
        (
            ("optimizer.schedule=plateau", "finetune.epochs=3"),
            "note: with finetune.epochs=3 and optimizer.plateau_patience=2 the learning rate never falls",
        ),
        (("head=linear", "head.hidden=64"), "note: head.hidden has no effect: head=linear has no hidden layer"),
        (("head=logistic", "head.hidden=64"), "note: head.hidden has no effect: head=logistic has no hidden layer"),
        (
            ("head=logistic", "recipe=bottleneck", "bottleneck.epochs=5", "augment=light", "head.dropout=0.2"),
            "note: bottleneck.epochs, augment, head.dropout have no effect: head=logistic is solved for in one step; "
            "head=gap_dense, say, is trained",
        ),
        (
            ("head=logistic", "finetune.head_epochs=5"),
            "finetune.head_epochs has no effect: head=logistic is solved for",
        ),
        (("head=logistic", "finetune.head_optimizer=adam"), "finetune.head_optimizer has no effect: no stage trains"),
        (("finetune.freeze=all", "finetune.batchnorm=trainable"), "finetune.batchnorm has no effect: everything stays"),
        (("recipe=scratch", "frozen_precision=bfloat16"), "frozen_precision has no effect: recipe=scratch freezes"),
        (("recipe=bottleneck", "training_step=keras"), "training_step has no effect: recipe=bottleneck thaws nothing"),
        (("dataset.max_bad_fraction=0.1",), "note: dataset.max_bad_fraction has no effect: dataset.on_bad=stop"),
        (("split.folds=5", "dataset.val_fraction=0.2"), "note: dataset.val_fraction has no effect: split.folds makes"),
        (("augment=light", "augment.magnitude=5"), "note: augment.magnitude has no effect: augment.ops=0"),
        (("tracking.complete=none", "tracking.log_model=true"), "note: tracking.log_model has no effect: tracking.co"),
    ],
)
def test_what_the_command_sets_and_nothing_reads_is_named_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    (line,) = notes(*arguments)
    assert said in line


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("recipe=bottleneck",),
        ("recipe=scratch",),
        *((f"experiment={file.stem}",) for file in sorted((CONF / "experiment").glob("*.yaml"))),
        ("experiment=quickstart", "optimizer=sgd", "optimizer.momentum=0.8", "optimizer.nesterov=true"),
        ("head=linear", "head.dropout=0.2", "head.label_smoothing=0.1"),
        ("head=logistic", "head.dropout=0.2", "finetune.epochs=3", "optimizer.learning_rate=0.01", "augment=light"),
        ("train.patience=50",),  # the best weights are restored all the same
        ("optimizer.schedule=plateau", "optimizer.plateau_factor=0.5", "finetune.epochs=4"),
        ("dataset.on_bad=quarantine", "dataset.max_bad_fraction=0.1"),
        ("optimizer.warmup_epochs=4.5", "finetune.freeze=block5c", "backbone.freeze=block6c"),
        ("augment=strong", "augment.magnitude=5", "cache.views=2"),
        (STAGES, "optimizer.weight_decay=1e-4", "finetune.head_optimizer=adam", "finetune.batchnorm=trainable"),
    ],
)
def test_what_has_an_effect_and_what_is_a_default_is_not_talked_about(arguments: tuple[str, ...]) -> None:
    assert notes(*arguments) == []


def test_a_draft_of_a_recipe_that_freezes_nothing_is_none() -> None:
    (note,) = notes("recipe=scratch", "precision=draft")
    assert note == "note: precision has no effect: recipe=scratch freezes nothing"
    assert notes("recipe=scratch", "precision=float32") == []


AUTO, HEAD_AUTO = "optimizer.learning_rate=auto", "finetune.head_optimizer.learning_rate=auto"


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("head=logistic", HEAD_AUTO), "finetune.head_optimizer.learning_rate"),
        (("head=logistic", "recipe=bottleneck", AUTO), "optimizer.learning_rate"),
        (("head=logistic", "finetune.stages=[{freeze:all,learning_rate:auto}]"), "finetune.stages[0].learning_rate"),
    ],
)
def test_a_head_that_is_solved_for_has_no_rate_to_find(arguments: tuple[str, ...], key: str) -> None:
    (line,) = key_conflicts.contradictions(composed(*arguments))
    assert line == (
        f"{key}=auto finds a rate, and head=logistic solves for the head, which has no rate: leave it out, or choose "
        "another head"
    )


def test_a_rate_is_found_where_there_is_one() -> None:
    for arguments in ((AUTO, HEAD_AUTO), ("head=logistic", AUTO), ("recipe=bottleneck", AUTO)):
        assert composed(*arguments).optimizer.learning_rate == "auto"
        assert not list(key_conflicts.contradictions(composed(*arguments)))
    (line,) = key_conflicts.contradictions(composed(HEAD_AUTO, "distribute=mirrored"))
    assert line.startswith("learning_rate=auto tests rates on one device")


@pytest.mark.parametrize(("written", "rate"), [("1", 1.0), ("2e-3", 0.002), ("1e-05", 1e-5), ("auto", "auto")])
def test_a_number_is_a_float_however_it_is_written(written: str, rate: float | str) -> None:
    """As it was when no word could stand there: stored configs and their hashes go by it."""
    config = composed(f"optimizer.learning_rate={written}", f"finetune.stages=[{{learning_rate:{written}}}]")
    for found in (config.optimizer.learning_rate, config.finetune.stages[0].learning_rate):
        assert (found, type(found)) == (rate, type(rate))
