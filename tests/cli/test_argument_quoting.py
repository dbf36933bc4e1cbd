"""Arguments reach the config as they were typed: nothing in a text is Hydra's grammar or YAML."""

from pathlib import Path

import hydra
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from thaw.cli.argument_quoting import PATH_KEYS, quote_texts
from thaw.config import tool_schemas
from thaw.config.schema import Config
from thaw.config.schema_keys import HYDRA_TEXT_KEYS, TEXT_OR_NUMBER_KEYS, text_keys
from thaw.config.yaml_text import keep_yaml_texts

from .conftest import TOOLS

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ("dataset.path=my photos (1)", r"dataset.path='my photos (1)'"),
        ("images=2024_01", "images='2024_01'"),
        ("model=12e45678", "model='12e45678'"),
        ("dataset.path=null", "dataset.path=null"),
        ("dataset.path=a b,c d", "dataset.path='a b','c d'"),
        ("dataset.path=it's", r"dataset.path='it\'s'"),
        ("dataset.path=a,b", "dataset.path='a','b'"),  # a sweep
        ("images=Bücher/*.jpg", "images='Bücher/*.jpg'"),
        ("images=[a.jpg,b.jpg]", "images=['a.jpg','b.jpg']"),
        ("images=${oc.env:HOME}/a (1).jpg", "images='${oc.env:HOME}/a (1).jpg'"),
        ("dataset.path=${oc.env:HOME}", "dataset.path=${oc.env:HOME}"),
        ("dataset.path='a','b'", "dataset.path='a','b'"),
        ("dataset.path='tis", r"dataset.path='\'tis'"),
        ("experiment=2026_11_27", "experiment='2026_11_27'"),
        ("backbone=vgg16,resnet50", "backbone=vgg16,resnet50"),
        ("backbone=glob(res*)", "backbone=glob(res*)"),
        ("hydra.run.dir=runs/2026_11 (1)", "hydra.run.dir='runs/2026_11 (1)'"),
        ("seed=1", "seed=1"),
        ("finetune.head_optimizer=adam", "optimizer@finetune.head_optimizer=adam"),
    ],
)
def test_paths_need_no_quoting(given: str, passed_on: str) -> None:
    one = tool_schemas.PredictConfig if given.partition("=")[0] in ("images", "model") else Config
    assert quote_texts([given], one) == [passed_on]


def test_without_sweeps_a_comma_is_part_of_a_path() -> None:
    assert quote_texts(["images=a,b.jpg"], tool_schemas.PredictConfig, sweeps=False) == ["images='a,b.jpg'"]


# Texts that Hydra's grammar or YAML would read as something else.
READ_OTHERWISE = [
    "2026_11_27", "1_000", "1e5", "1E5", "007", "0x10", "0b1", "1.10", "+1", "-0.5", ".5", "5.", "true", "False", "yes",
    "NULL", "Null", "inf", "-inf", "NaN", "12:30:45", "2026-11-27", "a b", " a", "a(b)", "a{b}", "x=y", "it's", 'a"b',
    "a\\b", "a\\", "#a", "a: b", "@a", "$a", "%a", "!a", "&a", "*a", "?", "-", "a[1]", "a#b", "1" * 32, "12e45678",
]  # fmt: skip


def value_of(schema_: type, key: str, given: str, sweeps: bool = False) -> object:
    """The value that a key has in the end."""
    ConfigStore.instance().store(name="any", node=schema_)
    with hydra.initialize(None, version_base="1.3"):
        return OmegaConf.select(hydra.compose("any", quote_texts([f"{key}={given}"], schema_, sweeps)), key)


@pytest.mark.parametrize(
    ("schema_", "key"),
    [
        (each, key)
        for each in (
            Config,
            tool_schemas.CacheToolConfig,
            tool_schemas.ReproduceConfig,
            tool_schemas.FaultsConfig,
            tool_schemas.BenchmarkConfig,
        )
        for key in sorted(text_keys(each) - TEXT_OR_NUMBER_KEYS)
        if key != "backbones"
    ],
)
def test_a_text_is_what_was_typed(schema_: type, key: str) -> None:
    for text in READ_OTHERWISE if key in ("tracking.experiment", "dataset.path") else READ_OTHERWISE[:4]:
        assert value_of(schema_, key, text) == text


@pytest.mark.parametrize("text", [text for text in READ_OTHERWISE if text not in (" a", "it's", 'a"b')])
def test_a_text_in_a_list_or_a_sweep_is_what_was_typed(text: str) -> None:
    assert value_of(tool_schemas.BenchmarkConfig, "backbones", f"[vgg16, {text}]") == ["vgg16", text]
    for given in (f"{text},b", f"choice({text}, b)"):
        (swept,) = OverridesParser.create().parse_overrides(quote_texts([f"tracking.experiment={given}"], Config))
        jobs = OverridesParser.create().parse_overrides([f"x={each}" for each in swept.sweep_string_iterator()])
        assert [job.value() for job in jobs] == [text, "b"]


@pytest.mark.parametrize("text", ["2026_11_27", "1e5", "1.10", "007", "yes", "true", "12:30:45", "0x10", "1_0", "a b"])
def test_a_text_in_a_file_is_what_was_written(tmp_path, text: str) -> None:
    for name, content in {
        "experiment/x": f"# @package _global_\ntracking: {{experiment: {text}}}\ndataset:\n  path: {text}\nseed: 1_0\n"
        "backbone: {freeze: 0.50}\nhydra: {job: {name: " + text + "}}\n",
        "dataset/mine": f"name: csv\npath: {text}\nval_fraction: 2e-1\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(content)
    keep_yaml_texts()
    ConfigStore.instance().store(name="schema", node=Config)
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        there = f"hydra.searchpath=[file://{tmp_path}]"
        one = hydra.compose("config", [there, "experiment=x"], return_hydra_config=True)
        other = hydra.compose("config", [there, "dataset=mine"])
    assert (one.tracking.experiment, one.dataset.path, one.hydra.job.name) == (text, text, text)
    assert (one.seed, one.backbone.freeze) == (10, 0.5)
    assert (other.dataset.path, other.dataset.val_fraction) == (text, 0.2)


@pytest.mark.parametrize(("given", "value"), [("172", 172), ("0.5", 0.5), ("block6c", "block6c"), ("all", "all")])
def test_a_boundary_in_figures_stays_a_number(given: str, value: object) -> None:
    assert value_of(Config, "finetune.freeze", given) == value
    assert type(value_of(Config, "finetune.freeze", given)) is type(value)


def test_every_key_that_may_be_a_path_is_a_text_of_some_schema() -> None:
    every = set().union(*(text_keys(each) for each in (Config, *TOOLS)))
    assert every >= PATH_KEYS - HYDRA_TEXT_KEYS
    assert every >= TEXT_OR_NUMBER_KEYS


def test_the_home_of_a_user_who_does_not_exist_is_named(error_of) -> None:
    assert error_of(["dataset.path=~nobody-here/photos"]).startswith(
        "~nobody-here/photos: this machine has no such user"
    )
