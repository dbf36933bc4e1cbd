"""The model card: what a trained network was made of, what it can do, and what nobody has looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import thaw
from thaw.analysis.figures import CalibrationFigures, ClassFigures, Share
from thaw.common.console import printable
from thaw.config import run_names
from thaw.data import manifest
from thaw.models import backbone_table, weights_origin
from thaw.results.run_figures import RunFigures
from thaw.run_context import RunContext

if TYPE_CHECKING:
    from thaw.training.stage_result import TrainingOutcome

CARD_FILE = "model_card.md"  # in a network's folder; README.md in the logged model
MAX_CLASSES = 50  # in the table
_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#"})


def model_card(context: RunContext, trained: TrainingOutcome, figures: RunFigures) -> str:
    """Return the card of a run's network as Markdown."""
    sections = [
        ("Data", _data(context, trained)),
        ("Figures on the test images", _figures(figures)),
        ("Classes", _classes(figures.test.classes)),
        ("Training", _training(context, trained)),
        ("Weights and licence", _weights(context)),
        ("Limits", _limits(context, trained)),
        ("Use", _use(context)),
    ]
    texts = ["\n".join([f"## {title}", "", *lines]) for title, lines in sections]
    return "\n\n".join([_title(context, trained), *texts]) + "\n"


def _title(context: RunContext, trained: TrainingOutcome) -> str:
    size, classes = backbone_table.input_size(context.config.backbone), len(trained.data.class_names)
    return (
        f"# {_text(context.tracked.name)}\n\nTells {classes:,} classes of pictures apart. Takes raw RGB, 0-255, "
        f"{size}x{size}; preprocessing is inside. Trained by thaw {thaw.__version__} as run `{context.tracked.id}`."
    )


def _data(context: RunContext, trained: TrainingOutcome) -> Iterator[str]:
    data, splits = trained.data, trained.data.splits
    counts = ", ".join(f"{len(indices):,} {split}" for split, indices in splits.by_name().items())
    yield f"- data set: {_text(run_names.dataset_name(context.config.dataset))} ({counts} images)"
    yield f"- sha256 of all images, classes and splits: `{manifest.data_sha256(data.pixels, splits)}`"
    yield "- every image with its hash and split: `manifest.csv` of the run"


def _figures(figures: RunFigures) -> Iterator[str]:
    test = figures.test
    yield f"{test.images:,} images that were not trained on; intervals are of 95 %."
    yield from ("", "| figure | value | interval |", "|---|---|---|")
    yield f"| accuracy | {_number(test.accuracy.value)} | {_span(test.accuracy)} |"
    yield f"| macro F1 | {test.macro_f1:.3f} | |"
    yield f"| always guessing {_text(test.majority_class)} | {test.majority_share:.3f} | |"
    yield from _calibration_rows("", test.calibration)
    if test.calibrated is not None:
        yield from _calibration_rows(f" with temperature {test.temperature:.3f}", test.calibrated)
    yield ""
    yield "What they say:"
    yield from ("", *(f"- {_text(line)}" for line in figures.verdict.lines))


def _calibration_rows(suffix: str, calibration: CalibrationFigures) -> Iterator[str]:
    yield f"| calibration error (ECE){suffix} | {calibration.ece:.3f} | |"
    yield f"| Brier score{suffix} | {calibration.brier:.3f} | |"


def _classes(classes: Sequence[ClassFigures]) -> Iterator[str]:
    yield from (
        "| class | training images | test images | recall | interval | precision |",
        "|---|---|---|---|---|---|",
    )
    for row in classes[:MAX_CLASSES]:
        training = "" if row.training_images is None else f"{row.training_images:,}"
        recall, precision = _number(row.recall.value), _number(row.precision.value)
        yield f"| {_text(row.name)} | {training} | {row.images:,} | {recall} | {_span(row.recall)} | {precision} |"
    if len(classes) > MAX_CLASSES:
        yield f"\nand {len(classes) - MAX_CLASSES:,} more in `classes.json` and the run's report."


def _training(context: RunContext, trained: TrainingOutcome) -> Iterator[str]:
    config, engine = context.config, trained.engine
    yield f"- recipe {config.recipe}, backbone {config.backbone.name}, head {config.head.name}, seed {config.seed}"
    for stage in trained.stages:
        epochs = len(stage.fit.history)
        left_out = (
            ""
            if stage.left_out is None
            else f" · left out, as validation {stage.left_out.measure} is better without it"
        )
        length = f"{epochs} epoch{'s' * (epochs != 1)}"
        yield f"- stage {stage.stage.name}: {length} · {_text(stage.plan.summary())}{left_out}"
    yield f"- frozen layers on {engine.engine} {engine.version} in {engine.frozen}, training in {engine.trained}"


def _weights(context: RunContext) -> Iterator[str]:
    origin, licence = weights_origin.weights_origin(context.config.backbone)
    yield f"- began with: {origin}"
    yield f"- licence of these weights: {licence}"
    yield "- thaw's code, which the model carries: Apache-2.0"
    yield "- rights in the training pictures are not known to thaw"


def _limits(context: RunContext, trained: TrainingOutcome) -> Iterator[str]:
    yield "- It always names one of its classes, for a picture of anything."
    yield "- The figures hold for pictures like the test images: taken, cropped and chosen in the same way."
    becomes = {
        "squash": "Pictures are squashed to a square, as in training; the whole picture is taken for one thing.",
        "crop": "Only the square in the centre of a picture is seen, as in training; it is taken for one thing.",
        "pad": "Pictures are padded with grey to a square, as in training; the whole picture is taken for one thing.",
    }
    yield f"- {becomes[context.config.dataset.resize]}"
    if trained.engine.frozen == "int8":
        yield "- Its frozen part ran in int8; the `.keras` file alone is float32 and may answer otherwise."
    if context.config.dataset.bits:
        yield f"- 16-bit pictures are read as holding {context.config.dataset.bits} bits."
    yield "- Nobody has looked at bias, attacks or use in decisions on people."


def _use(context: RunContext) -> Iterator[str]:
    run, size = context.tracked.id, backbone_table.input_size(context.config.backbone)
    yield from (
        "```sh",
        f"thaw predict model={run} images='FOLDER/*.jpg'",
        f"MLFLOW_TRACKING_URI=STORE mlflow models serve -m runs:/{run}/model --env-manager local",
        "```",
        "",
        "```python",
        "import mlflow",
        f'model = mlflow.pyfunc.load_model("runs:/{run}/model")  # or models:/NAME@champion',
        'model.predict(["photo.jpg"], params={"top_k": 3})  # paths, bytes, base64 texts or uint8 arrays',
        "",
        "import keras",
        f'network = keras.saving.load_model("data/model.keras")  # uint8 or float32 (N, {size}, {size}, 3), 0-255',
        "```",
    )


def _text(value: object) -> str:
    return printable(str(value)).translate(_MARKDOWN)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _span(share: Share) -> str:
    return "" if share.low is None or share.high is None else f"{share.low:.3f} to {share.high:.3f}"
