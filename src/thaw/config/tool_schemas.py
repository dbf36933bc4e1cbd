"""The schemas of the scripts: one dataclass a command, from the sections of the run's."""

from dataclasses import dataclass, field
from typing import Any

from thaw.config.schema import BackboneConfig, CacheConfig, Config, DatasetConfig, key

EXPLORE_PRECISION = "auto"  # the default of explore's `precision`


def _engine_key() -> Any:
    """Return the key `engine` of a command that runs a trained network."""
    choices = ("auto", "openvino", "tensorflow")
    return key("auto", "engine that runs the network; auto: the one of its run's figures", choices=choices)


def _precision_key() -> Any:
    """Return the key `precision` of a command that runs a trained network or a published one."""
    text = "precision of computation; auto: that of its run's figures, float32 for stock networks"
    return key("auto", text, choices=("auto", "float32", "bfloat16", "float16"))


@dataclass
class LayersConfig:
    """scripts/layers.py: a backbone's layers, blocks and boundaries."""

    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"backbone": "efficientnet_lite0"}])
    backbone: BackboneConfig = key(BackboneConfig, "")
    format: str = key("table", "format of the listing", choices=("table", "csv", "json"))
    outputs: str = key("${oc.env:THAW_OUTPUTS,outputs}", "folder that runs were written to")
    tracking_uri: str = key("sqlite:///${outputs}/mlflow.db", "store that knows the run of backbone.weights=RUN_ID")


@dataclass
class RayConfig:
    """The Ray cluster of a command."""

    address: str | None = key(
        None,
        "running cluster to join, HOST:PORT, or auto for the one that this machine belongs to; default: one is started "
        "here and ends with the command",
    )


@dataclass
class ExtractConfig(Config):
    """scripts/extract.py: all that train would compute into the cache, ahead of it, here or on a Ray cluster.

    The keys of a run, of which those that decide on what is cached count, and where to compute.
    """

    on: str = key(
        "here", "where to compute; ray: in processes of Ray, on this machine or a cluster", choices=("here", "ray")
    )
    workers: str = key("auto", "ray: processes that compute at a time; auto: one for every 4 cores of the cluster")
    threads: int | None = key(None, "ray: threads of each of them; default: cores / workers", min=1)
    ray: RayConfig = key(RayConfig, "")


@dataclass
class AdviseConfig(Config):
    """scripts/advise.py: which network to take for a data set, and how much of it to thaw, before anything is trained.

    The keys of a run, of which the data set, the sizes, engine and precision count, and backbone=A,B,C and
    backbone.image_size=A,B for several.
    """

    networks: list[str] = key([], "backbones to compare; backbone=A,B,C sets it")
    image_sizes: list[int] = key([], "sides of the input to compare each at; backbone.image_size=A,B sets it")
    seconds: float = key(360.0, "what stage thaw may take", above=0)
    output: str = key("${outputs}/advise", "folder for advise.json and advise.png")


@dataclass
class FindRateConfig(Config):
    """scripts/find_rate.py: a learning rate for a stage, by a range test of some steps on cached activations.

    The keys of a run; those of the stages before the tested one count too.
    """

    stage: str | None = key(None, "name of the stage whose rate is tested; default: the last one")
    output: str = key("${outputs}/find_rate", "folder for find_rate.json and find_rate.png")


@dataclass
class FindBatchConfig(Config):
    """scripts/find_batch.py: memory and speed of a stage's training steps by the size of its batches.

    The keys of a run.
    """

    stage: str | None = key(None, "name of the stage that is tried; default: the last one")
    seconds: float = key(
        120.0, "what trying may take; sizes beyond are foretold from the memory of those tried", above=0
    )
    output: str = key("${outputs}/find_batch", "folder for find_batch.json")


@dataclass
class CacheToolConfig:
    """scripts/cache.py: what is kept, whether it is sound, and making room."""

    action: str = key("list", "what to do", choices=("list", "verify", "clear"))
    space: str | None = key(None, "only the spaces whose id begins so; default: all")
    unused_days: float = key(0.0, "list, clear: only what was not used for so many days", min=0)
    outputs: str = key("${oc.env:THAW_OUTPUTS,outputs}", "folder that runs were written to")
    cache: CacheConfig = key(CacheConfig, "")


@dataclass
class PredictConfig:
    """scripts/predict.py: class names and probabilities for pictures."""

    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"backbone": "efficientnet_lite0"}])
    images: Any = key(
        None, "a file, a folder, a pattern in quotes ('photos/*.jpg'), a list of them; -: names on standard input"
    )
    model: Any = key(
        None,
        "id of a run, or a run's folder; [RUN1,RUN2]: the mean of several networks, as a cross-validation's id, if all "
        "folds kept theirs; default: the backbone's own ImageNet classifier",
    )
    backbone: BackboneConfig = key(BackboneConfig, "")
    bits: int | None = key(None, "as dataset.bits; default: that of the network's run", min=8, max=16)
    top: int = key(5, "classes shown for an image", min=1)
    format: str = key(
        "table",
        "format of the output; table: in a file that of its name's end, else CSV. jsonl: a line of JSON an image",
        choices=("table", "csv", "json", "jsonl", "parquet"),
    )
    output: str | None = key(
        None,
        "file to write to instead of the terminal, FILE.csv, .json, .jsonl or .parquet; the same command continues one "
        "that was interrupted",
    )
    chart: str | None = key(
        None,
        "FILE.png: the picture, its top classes and the output vector drawn; of several images FILE-NAME.png",
    )
    explain: bool = key(False, "write every image under its Grad-CAM: where the network sees the predicted class")
    explain_output: str = key("${outputs}/explained", "folder of explain=true's pictures and their explain.csv")
    features: str | None = key(
        None,
        "layer or block whose output is written for every image to output=FILE.npy or FILE.parquet; pooled: what the "
        "head reads",
    )
    calibrated: bool = key(
        False, "probabilities after the temperature that the run fitted on validation; the classes stay the same"
    )
    reject_below: float | None = key(
        None, "probability below which an image's best class is not believed: its label is unknown", min=0, max=1
    )
    tta: str = key(
        "none",
        "test-time augmentation: the mean over views of each image; flip: itself and its mirror image; 5crop: corners "
        "and centre of the image at 8/7 of the size",
        choices=("none", "flip", "5crop"),
    )
    batch_size: int = key(32, "images a step", min=1)
    engine: str = _engine_key()
    precision: str = _precision_key()
    outputs: str = key("${oc.env:THAW_OUTPUTS,outputs}", "folder that runs were written to")
    tracking_uri: str = key("sqlite:///${outputs}/mlflow.db", "store that knows the run")


@dataclass
class EvaluateConfig:
    """scripts/evaluate.py: a trained network judged on any labelled data set, as a run is."""

    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"dataset": "image_folder"}])
    model: str | None = key(None, "id of a run, a run's folder, or the id of a sweep, for its best run")
    dataset: DatasetConfig = key(DatasetConfig, "")
    split: str | None = key(
        None,
        "which images, where the data set says so; default: test if it says which are test, else all",
        choices=("all", "test", "val", "train"),
    )
    exclude_seen: bool = key(False, "leave out images that the network was trained or validated on")
    output: str | None = key(None, "folder for figures and report; default: evaluations/DATE/TIME in outputs")
    report: str = key(
        "${oc.env:THAW_REPORT,full}",
        "the report; short: without charts as PNG and heat maps; none: tables and figures only",
        choices=("full", "short", "none"),
    )
    log: bool | None = key(None, "log a run of its own to the store of the network's run; default: if it is there")
    seed: int = key(
        0,
        "seed of dataset.limit_per_class (a run with it takes the same test images) and of the images parity compares",
        min=0,
        max=2**31 - 1,
    )
    engine: str = _engine_key()
    precision: str = key(
        "auto",
        "precision of computation; auto: that of its run's figures",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    cache: CacheConfig = key(CacheConfig, "")
    outputs: str = key("${oc.env:THAW_OUTPUTS,outputs}", "folder that runs were written to, the cache among it")
    tracking_uri: str = key("sqlite:///${outputs}/mlflow.db", "store that knows the run")


@dataclass
class ExportConfig:
    """scripts/export.py: a trained network in another runtime's format, checked against the network there."""

    model: str | None = key(None, "id of a run, a run's folder, or the id of a sweep, for its best run")
    format: str | None = key(
        None,
        "format to write",
        choices=("savedmodel", "onnx", "litert", "openvino", "keras", "h5json"),
    )
    precision: str = key(
        "float32",
        "precision of the weights, and in int8 of the activations; onnx, litert and openvino have all three",
        choices=("float32", "float16", "int8"),
    )
    agreement: float | None = key(
        None,
        "share of test images that must get the network's class, near ties aside; default: 0.99, in int8 0.97",
        min=0,
        max=1,
    )
    images: int = key(500, "test images of the run that both are compared on, at most", min=3)
    data: str | None = key(None, "folder or table where the run's data set lies now; default: where the run read it")
    output: str | None = key(None, "folder of the export; default: exports/NAME-ID/FORMAT-PRECISION in outputs")
    overwrite: bool = key(False, "replace an export of another network; one of the same run is replaced anyway")
    seed: int = key(0, "seed that draws the test images", min=0, max=2**31 - 1)
    outputs: str = key("${oc.env:THAW_OUTPUTS,outputs}", "folder that runs were written to")
    tracking_uri: str = key("sqlite:///${outputs}/mlflow.db", "store that knows the run")


@dataclass
class ServeConfig:
    """scripts/serve.py: a network over HTTP, with a page on which to drop pictures."""

    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"backbone": "efficientnet_lite0"}])
    model: str | None = key(
        None, "id of a run, its first six characters or more, or a run's folder; default: the backbone's own ImageNet "
        "classifier",
    )  # fmt: skip
    backbone: BackboneConfig = key(BackboneConfig, "")
    bits: int | None = key(None, "as dataset.bits; default: that of the network's run", min=8, max=16)
    host: str = key("127.0.0.1", "address to listen on; 127.0.0.1: this machine only, 0.0.0.0: all networks")
    port: int = key(8000, "port to listen on; 0: a free one, which is printed", min=0, max=65535)
    top: int = key(5, "classes of an image, unless a request says top=", min=1)
    max_batch: int = key(32, "images computed at once, at most", min=1)
    wait_ms: float = key(5.0, "how long an image waits for others that are being decoded", min=0, max=1000)
    queue: int = key(256, "images that are decoded, wait or are computed, at most; more are answered with 503", min=1)
    max_images: int = key(64, "images of a request, at most", min=1)
    max_mb: float = key(20.0, "size of a request, at most", min=0.001, max=100_000)
    buffer_mb: float = key(
        256.0, "size of all requests that are held, at most; more are answered with 503", min=0.001, max=1e6
    )
    read_seconds: float = key(15.0, "how long a request may take to arrive", min=0.1, max=86_400)
    answer_seconds: float = key(30.0, "how long a request that has arrived may take", min=0.1, max=86_400)
    decode_threads: int | None = key(None, "pictures decoded at once; default: as many as there are processors", min=1)
    allowed_hosts: list[str] | None = key(
        None,
        "names by which the server may be called, such as example.org; default: localhost and 127.0.0.1 on a loopback "
        "host, any name on another",
    )
    allowed_origins: list[str] = key([], "web pages of other sites that may use the server: https://example.org")
    engine: str = _engine_key()
    precision: str = _precision_key()
    outputs: str = key("${oc.env:THAW_OUTPUTS,outputs}", "folder that runs were written to")
    tracking_uri: str = key("sqlite:///${outputs}/mlflow.db", "store that knows the run")


@dataclass
class ReproduceConfig:
    """scripts/reproduce.py: a run done again, and held against what it was."""

    run: str | None = key(None, "id of a run, its first six characters or more, or a run's folder")
    tolerance: float = key(
        1e-3,  # rounding moves a head's losses by 1e-6, another seed accuracies by 1e-2
        "largest absolute difference of losses, and of final accuracies, that is still the same. Exit code 0: "
        "identical, 2: same within tolerance, 3: different, 1: the run cannot be done again",
        min=0,
    )
    fresh: bool = key(
        True, "read and compute all anew, in a cache that is removed afterwards; false: believe what the cache keeps"
    )
    outputs: str = key("${oc.env:THAW_OUTPUTS,outputs}", "folder that runs are written to")
    tracking_uri: str = key("sqlite:///${outputs}/mlflow.db", "store that knows the run, and gets the new one")


@dataclass
class CompareConfig:
    """scripts/compare.py: runs side by side: what differs, which is better, and whether that is luck."""

    runs: Any = key(
        None, "ids of runs, their first six characters or more, folders of runs, or a sweep, which stands for its runs"
    )
    filter: str | None = key(None, 'MLflow\'s filter instead, such as "metrics.objective > 0.8"')
    tracking_experiment: str = key("thaw", "experiment that the filter looks in")
    images: str = key(
        "same",
        "test images; same: refuse runs that were tested on others; common: compare on those that all have; evaluate: "
        "run each network on those of the first run",
        choices=("same", "common", "evaluate"),
    )
    aggregate: bool = key(True, "runs that differ in seed or fold only are one row; false: each run is one")
    format: str = key("table", "format in the terminal", choices=("table", "csv", "json"))
    output: str | None = key(
        None, "folder, or name of the page (.html); default: outputs/comparisons/DATE/TIME/compare.html"
    )
    outputs: str = key("${oc.env:THAW_OUTPUTS,outputs}", "folder that runs were written to")
    tracking_uri: str = key("sqlite:///${outputs}/mlflow.db", "store that knows the runs")


@dataclass
class RunsConfig:
    """scripts/runs.py: the runs of a store as a table, and the removal of what no run needs any more."""

    action: str = key("list", "what to do; clean: find what can be removed", choices=("list", "clean"))
    filter: str | None = key(
        None, "list: only runs that MLflow's filter finds: 'metrics.`test/accuracy` > 0.9'; default: all"
    )
    order: str = key("-started", "list: the column to sort by, -COLUMN for descending")
    limit: int | None = key(20, "list: at most so many rows; null: all", min=1)
    tracking_experiment: str | None = key(None, "list: only runs of this MLflow experiment; default: of all")
    sweeps: str = key(
        "collapsed",
        "list: a sweep is one row, with the figures of its best run, or its runs have rows too",
        choices=("collapsed", "expanded"),
    )
    format: str = key("table", "format of the list", choices=("table", "csv", "json"))
    confirm: bool = key(False, "clean: remove what was found; false: only say what that is")
    older_than_days: float | None = key(
        None, "clean: also checkpoints of failed and killed runs, last written so many days ago; default: none", min=0
    )
    outputs: str = key("${oc.env:THAW_OUTPUTS,outputs}", "folder that runs were written to")
    tracking_uri: str = key("sqlite:///${outputs}/mlflow.db", "store of the runs")


@dataclass
class ExploreConfig:
    """scripts/explore.py: a data set looked through, as one HTML page and three CSV files."""

    defaults: list[Any] = field(
        default_factory=lambda: ["_self_", {"backbone": "efficientnet_lite0"}, {"dataset": "image_folder"}]
    )
    backbone: BackboneConfig = key(BackboneConfig, "")
    dataset: DatasetConfig = key(DatasetConfig, "")
    cache: CacheConfig = key(CacheConfig, "")
    output: str = key("${outputs}/explore", "folder for explore.html, findings.csv, images.csv and groups.csv")
    thumbnails: int = key(24, "pictures shown of a class, and findings shown of a kind; the CSV files hold all", min=1)
    similarity: float = key(
        0.85,
        "cosine of two pictures' features from which they may be near duplicates; lower: more, and more false ones",
        min=0,
        max=1,
    )
    folds: int = key(5, "folds of the cross-validation that looks for wrong labels", min=2, max=20)
    seed: int = key(0, "seed of splits and folds; a run with the same seed splits the same", min=0, max=2**31 - 1)
    engine: str = key(
        "auto",
        "engine that runs the backbone; auto: openvino on CPUs, tensorflow on GPUs",
        choices=("auto", "openvino", "tensorflow"),
    )
    precision: str = key(
        EXPLORE_PRECISION,
        "precision of computation; auto: what this hardware does fast for the network; draft: what is fastest; int8: "
        "quantised on the images, needs nncf",
        choices=("auto", "draft", "float32", "bfloat16", "float16", "int8"),
    )
    outputs: str = key("${oc.env:THAW_OUTPUTS,outputs}", "folder that runs are written to, the cache among it")
    tracking_uri: str = key("sqlite:///${outputs}/mlflow.db", "store that knows the run of backbone.weights=RUN_ID")


@dataclass
class BenchmarkConfig:
    """scripts/benchmark.py: thaw against the same work written by hand in Keras."""

    what: str = key(
        "all",
        "what to measure",
        choices=(
            "all", "chip", "extract", "jpeg", "step", "stages", "first", "rerun", "sweep", "scratch", "determinism",
            "growth",
        ),
    )  # fmt: skip
    repeats: int = key(3, "times each side is measured, in turn; the medians are compared", min=1)
    images: int = key(256, "images of extract and jpeg", min=8)
    step_images: int = key(128, "images of an epoch of step, in batches of 32", min=32)
    photos: int = key(650, "photos of stages, rerun, sweep, determinism and growth's jobs", min=20)
    first_photos: int = key(400, "photos of first", min=20)
    small_images: int = key(10_000, "32-pixel images of scratch and determinism", min=100)
    backbones: list[str] = key(
        ["inceptionv3", "vgg16", "resnet50", "mobilenetv2", "efficientnet_lite0"],
        "networks of extract, jpeg and step",
    )
    image_size: int | None = key(None, "side of all inputs in pixels; default: each network's own", min=75, max=1024)
    epochs: int = key(
        3, "epochs of each stage, and of step, scratch and determinism, whose first one is left out", min=1
    )
    jobs: list[int] = key([1, 2, 5, 10, 20], "jobs of growth's sweeps; sweep runs the largest")
    growth: list[int] = key([250, 1000, 4000, 16000], "photos of growth")
    growth_repeats: int = key(1, "times growth measures each point", min=1)
    baseline: str | None = key(None, "folder of another checkout of thaw, whose training step is measured too")
    pytorch: str | None = key(None, "python of an environment with torch and torchvision, to measure these too")
    output: str = key("${oc.env:THAW_OUTPUTS,outputs}/benchmark", "folder for the table, the figures and the plot")


@dataclass
class FaultsConfig:
    """scripts/faults.py: a small real training with faults made on purpose, and a table of the outcomes."""

    what: str = key(
        "all",
        "the faults to make",
        choices=(
            "all", "kills", "torn", "full", "readonly", "locked", "absent", "together", "stops", "diverged", "offline",
        ),
    )  # fmt: skip
    kills: int = key(100, "trials that are killed; a quarter of them in a checkpoint's write or in evaluation", min=1)
    jobs: int = key(2, "trials at a time", min=1, max=64)
    seed: int = key(0, "seed of the times of kills and of the bytes that are corrupted", min=0, max=2**31 - 1)
    output: str = key("${oc.env:THAW_OUTPUTS,outputs}/faults", "folder for faults.json and the trials' logs")
