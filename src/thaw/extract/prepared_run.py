"""What a run of a config would train, without a run in the store: data and network, and its planned stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thaw import run_data, tracking
from thaw.cache import DiskCache
from thaw.common import tensorflow_setup
from thaw.common.console import display_path, say
from thaw.common.errors import UserError
from thaw.common.parallel import ShardWorkers
from thaw.config.schema import BackboneConfig, Config
from thaw.data import manifest, pixels, prepare, quarantine
from thaw.data.dataset import Dataset
from thaw.data.scan import ScanResult
from thaw.frozen.configured_engine import configured_engine, is_draft
from thaw.frozen.engine import EngineChoice
from thaw.frozen.quantization import run_calibration
from thaw.models import backbone_table
from thaw.training import recipes

if TYPE_CHECKING:  # TensorFlow is imported when the data has been read
    from thaw.models.network import Network
    from thaw.training.stage_plans import PlannedStage, StageInputs


@dataclass(frozen=True)
class PreparedNetwork:
    """A run's data and network, as it would begin.

    config: with what is pinned when a run begins. cache: of decoded images and activations.
    """

    config: Config
    cache: DiskCache
    data: Dataset
    choice: EngineChoice
    network: Network


@dataclass(frozen=True)
class PreparedRun:
    """A run as it would begin, with its stages planned.

    config: with what is pinned when a run begins. cache: of decoded images and activations.
    """

    config: Config
    cache: DiskCache
    data: Dataset
    network: Network
    inputs: StageInputs
    planned: list[PlannedStage]


def prepare_network(config: Config, workers: ShardWorkers | None = None, *, tell_data: bool = True) -> PreparedNetwork:
    """Read the data and build the network of a run of this config; all is told as the run tells it.

    Args:
        config: of the run.
        workers: processes that decode images and compute activations; None: this one does.
        tell_data: whether to tell what the data set is, and what computes; False of another network on the same data.

    Raises:
        UserError: as the run would, and if workers cannot compute what the engine of the config computes.
    """
    config = run_data.with_pinned_backbone(config)
    backbone = tracking.resolve_run_weights(config.backbone, config.tracking.uri, Path(config.outputs))
    outputs = Path(config.outputs).expanduser().absolute()
    cache = DiskCache(Path(config.cache.dir).expanduser().absolute(), config.cache.max_gb * 1e9, outputs=outputs)
    data, of_data = _load_data(config, cache, workers)
    choice, of_engine = configured_engine(config, draft=is_draft(config))
    for line in (*of_data, *of_engine) if tell_data else ():
        say(line)
    if workers is not None:
        _check_engine_of_workers(choice)
    tensorflow_setup.start_tensorflow(config.seed, config.deterministic, choice.tf32)
    return PreparedNetwork(config, cache, data, choice, _build_network(config, backbone, data))


def prepare_run(config: Config, workers: ShardWorkers | None = None) -> PreparedRun:
    """Read the data, build the network and plan the stages of a run of this config; all is told as the run tells it.

    Args and errors are those of `prepare_network`.
    """
    return plan_run(prepare_network(config, workers), workers)


def plan_run(prepared: PreparedNetwork, workers: ShardWorkers | None = None) -> PreparedRun:
    """Join the head to a run's network, and plan its stages; told as the run tells it.

    Raises:
        UserError: a freeze request names no layer.
    """
    from thaw.training.stage_plans import StageInputs, plan_stages

    config, data, network = prepared.config, prepared.data, prepared.network
    calibration = run_calibration(prepared.choice, data.pixels, data.splits.train)
    inputs = StageInputs(
        prepared.choice, prepared.cache, config.cache.views, config.backbone, config.train, config.head, calibration,
        workers,
    )  # fmt: skip
    planned = plan_stages(recipes.plan_recipe(config, len(data.splits.train)), network, data, inputs)
    for line in (line for stage in planned for line in stage.summary_lines(inputs, data)):
        say(line)
    return PreparedRun(config, prepared.cache, data, network, inputs, planned)


def _check_engine_of_workers(choice: EngineChoice) -> None:
    """Raise UserError for an engine whose results depend on the number of threads, or on a GPU."""
    if choice.engine != "openvino":
        raise UserError(
            f"on=ray computes with OpenVINO on processors, and this is engine={choice.engine}, whose results depend on "
            "the machine's number of threads or on its GPU: set engine=openvino for extraction and training, or on=here"
        )


def _load_data(config: Config, cache: DiskCache, workers: ShardWorkers | None) -> tuple[Dataset, list[str]]:
    """Scan and split the data set as a run does; return it with the lines that a run prints of it."""
    scan, spaces = prepare.scan_dataset(
        config.dataset,
        cache,
        backbone_table.input_size(config.backbone),
        pixels_every_epoch=recipes.runs_images_every_epoch(config),
        workers=workers,
    )
    _quarantine(config, scan)
    chosen = prepare.split_dataset(scan, config.dataset, config.split, config.seed)
    read = pixels.of_scan(scan, chosen.all_indices(), spaces, workers)
    data = Dataset(read, chosen, config.augment, config.seed)
    return data, run_data.data_lines(config, scan, data, manifest.data_sha256(data.pixels, data.splits))


def _quarantine(config: Config, scan: ScanResult) -> None:
    """List bad files before they may end the command."""
    if not scan.bad_files:
        return
    file = Path(config.outputs) / "extract" / quarantine.BAD_FILES_CSV
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(quarantine.bad_files_csv(scan), encoding="utf-8", errors="surrogateescape", newline="")
    dataset = config.dataset
    say(quarantine.quarantine_or_raise(scan, dataset.on_bad, dataset.max_bad_fraction, str(display_path(file))))


def _build_network(config: Config, backbone: BackboneConfig, data: Dataset) -> Network:
    from thaw.models import backbone_reuse, network

    built, _ = backbone_reuse.build_or_reuse(backbone, config.seed)
    say(f"network: {built.name} · {built.image_size}x{built.image_size} · weights {config.backbone.weights}")
    return network.attach_head(built, config.head, data.class_names)
