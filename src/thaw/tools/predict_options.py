"""Which keys of predict go together, checked before any work."""

from collections.abc import Iterator
from pathlib import Path

from thaw.common.errors import UserError, joined
from thaw.config import checks
from thaw.config.tool_schemas import PredictConfig
from thaw.tools.chart_files import check_chart
from thaw.tools.explained_images import check_explain_folder
from thaw.tools.prediction_listing import SUFFIXES

FEATURE_SUFFIXES = (".npy", ".parquet")


def check_options(config: PredictConfig) -> None:
    """Raise one UserError for all keys that contradict each other, and for files that cannot be written."""
    if config.output:
        _check_output(config.output)
    checks.raise_problems([*_feature_problems(config), *_prediction_problems(config)])
    if config.chart:
        check_chart(config.chart)
    if config.explain:
        check_explain_folder(config.explain_output)


def _check_output(output: str) -> None:
    file = Path(output).expanduser().absolute()
    if not file.parent.is_dir():
        raise UserError(f"output={output}: its folder does not exist; make it first")
    if file.is_dir():
        raise UserError(f"output={output} is a folder: give the name of a file in it")


def _feature_problems(config: PredictConfig) -> Iterator[str]:
    if config.features is None:
        return
    asked = f"features={config.features}"
    suffix = Path(config.output).suffix if config.output else ""
    if config.output is None:
        yield f"{asked} needs a file to write to: output=FILE.npy or output=FILE.parquet"
    elif suffix.lower() not in FEATURE_SUFFIXES:
        yield f"{asked} writes .npy or .parquet, by the name's end: output={config.output} is neither"
    without_effect = [
        f"{key}={value}"
        for key, value, default in (
            ("chart", config.chart, None),
            ("explain", config.explain, False),
            ("calibrated", config.calibrated, False),
            ("format", config.format, PredictConfig.format),
            ("top", config.top, PredictConfig.top),
            ("tta", config.tta, PredictConfig.tta),
            ("reject_below", config.reject_below, None),
        )
        if value != default
    ]
    if isinstance(config.model, list):
        yield f"{asked} are those of one network, and model={joined(config.model)} are several: give one run"
    if without_effect:
        yield (
            f"{asked} writes what the layer computes, and predicts nothing: leave out {joined(without_effect)}, or "
            "predict in a call of its own"
        )


def _prediction_problems(config: PredictConfig) -> Iterator[str]:
    if config.calibrated and config.model is None:
        yield "calibrated=true: a published network has no temperature: give model=RUN, or leave calibrated out"
    default = PredictConfig.explain_output.replace("${outputs}", config.outputs)
    if not config.explain and config.explain_output not in (default, PredictConfig.explain_output):
        yield f"explain_output={config.explain_output} is where explain=true writes: add explain=true"
    if config.explain and config.tta != PredictConfig.tta:
        yield f"explain=true shows one view of a picture, and tta={config.tta} are several: leave one of them out"
    if config.features is None:
        yield from _form_problems(config)


def _form_problems(config: PredictConfig) -> Iterator[str]:
    suffix = Path(config.output).suffix.lower() if config.output else ""
    if config.format == "parquet" and not config.output:
        yield "format=parquet is written to a file: output=FILE.parquet"
    if suffix == ".npy":
        yield (
            f"output={config.output} is a name for features: add features=LAYER, or name a list of predictions "
            "FILE.csv, FILE.json, FILE.jsonl or FILE.parquet"
        )
    by_name = SUFFIXES.get(suffix)
    if by_name and config.format not in ("table", by_name):
        yield f"format={config.format} and output={config.output} contradict each other: leave format out"
