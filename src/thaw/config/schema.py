"""The schema: one dataclass a section of conf/, with units, ranges and the help text of every key.

The dataclasses import nothing but the standard library, so every room may take the section it needs.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

AUTO_RATE = "auto"  # a learning rate that a range test finds as its stage begins
AUTO_STEPS = "auto"  # steps of stage thaw by the side of the input: `recipes.thaw_epochs`


def key(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    min: float | None = None,
    max: float | None = None,
    above: float | None = None,
    word: str | None = None,
    whole: bool = False,
) -> Any:
    """A config key: default, help, and what `checks.value_problems` holds it to (`above` is an exclusive minimum).

    word: that may stand in place of a number. whole: a number with a word beside it has no fraction.
    """
    metadata = {"help": help, "choices": choices, "min": min, "max": max, "above": above, "word": word, "whole": whole}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def _as_float(value: Any) -> Any:
    """Return a number as a float, whether a file or an argument has `1` or `1e-3`; else the value, for the checks."""
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        with suppress(ValueError):
            return float(value)
    return value


def _as_int(value: Any) -> Any:
    """Return a whole number as an integer, whether a file or an argument has `400` or `4e2`; else as `_as_float`."""
    number = _as_float(value)
    return int(number) if isinstance(number, float) and number.is_integer() else number


@dataclass
class BackboneConfig:
    """The pretrained network. `python scripts/layers.py backbone=NAME` shows its layers, blocks and boundaries."""

    name: str = key("efficientnet_lite0", "the network, a row of the table of backbones")
    weights: str = key("imagenet", "imagenet, none, a weights file (.h5, .weights.h5, .keras), or the id of a run")
    image_size: int | None = key(
        None,
        "side of the square input in pixels; default: the backbone's own, or less for small pictures",
        min=8,
        max=4096,
    )
    freeze: Any = key("all", "the backbone's own boundary: what finetune.freeze is unless set")
    alpha: float | None = key(None, "width multiplier (MobileNet family)", above=0, max=2)
    depth_multiplier: int | None = key(None, "depthwise channel multiplier (mobilenet)", min=1, max=4)
    minimalistic: bool | None = key(None, "no squeeze-excite, hard swish or 5x5 (mobilenetv3small, mobilenetv3large)")


@dataclass
class DatasetConfig:
    """The pictures and how they are split."""

    name: str = key("cifar10", "source of the pictures", choices=("cifar10", "csv", "digits", "image_folder"))
    path: str | None = key(None, "folder, table (csv) or archive; cifar10 is downloaded when it is not given")
    limit_per_class: int | None = key(
        None, "at most this many images of a class in each split: makes a run small", min=1
    )
    val_fraction: float = key(0.1, "share split off the training images when no val folder exists", above=0, max=0.9)
    test_fraction: float = key(0.1, "share split off all images when no test set exists", above=0, max=0.9)
    bits: int | None = key(None, "bits of a 16-bit channel that hold data: 12 for 0-4,095; default: all", min=8, max=16)
    resize: str = key(
        "squash",
        "how pictures become square: squashed, their centre cropped, or padded with grey",
        choices=("squash", "crop", "pad"),
    )
    on_bad: str = key(
        "stop", "files that cannot be decoded end the run, or are left out and listed", choices=("stop", "quarantine")
    )
    max_bad_fraction: float = key(
        0.01, "quarantine: more bad files than this share of all end the run too", min=0, max=1
    )


@dataclass
class SplitConfig:
    """Cross-validation: one of several folds of the training images validates, the others train."""

    folds: int | None = key(None, "folds of the training images; default: one validation set", min=2, max=1000)
    fold: int = key(0, "the fold that validates, from 0; all in turn: -m 'split.fold=range(5)'", min=0)
    version: int = key(
        2, "version of the split's rule: 2 draws by class name, 1 by class number, as older runs", min=1, max=2
    )


@dataclass
class HeadConfig:
    """What is joined to the backbone: pooling or flattening, a hidden layer, the output."""

    name: str = key(
        "gap_dense",
        "the head's kind; logistic: linear, and solved for by logistic regression where everything is frozen",
        choices=("gap_dense", "linear", "logistic", "flatten_dense"),
    )
    hidden: int = key(1024, "units of the hidden Dense layer (linear and logistic have none)", min=1)
    dropout: float = key(0.0, "dropout before the output", min=0, max=0.95)
    label_smoothing: float = key(0.0, "share of training's targets spread over all classes", min=0, max=0.9)
    output: str = key(
        "softmax", "sigmoid: one output and binary cross-entropy, two classes only", choices=("softmax", "sigmoid")
    )


@dataclass
class OptimizerConfig:
    """One stage's optimizer and learning-rate schedule. A null takes the optimizer's default in Keras."""

    name: str = key("sgd", "the optimizer", choices=("sgd", "rmsprop", "adam", "adamw"))
    learning_rate: Any = key(
        1e-4, "peak learning rate; auto: what a range test finds as the stage begins", above=0, word=AUTO_RATE
    )
    momentum: float | None = key(None, "sgd, rmsprop", min=0, max=1)
    nesterov: bool = key(False, "sgd with Nesterov momentum")
    weight_decay: float | None = key(None, "decoupled weight decay", min=0)
    schedule: str = key(
        "constant",
        "the learning rate's course over the stage; one_cycle: up in a quarter of the steps, then down to zero",
        choices=("constant", "cosine", "plateau", "one_cycle"),
    )
    # A run of before warmup_ratio was stored with a number here, mostly 0.
    warmup_epochs: float | None = key(
        None, "epochs over which the rate rises linearly from zero; default: those of warmup_ratio", min=0
    )
    warmup_ratio: float = key(
        0.0, "share of the stage's steps over which the rate rises, without warmup_epochs", min=0, max=0.9
    )
    plateau_patience: int = key(2, "plateau: epochs without a better validation loss before the rate falls", min=1)
    plateau_factor: float = key(0.1, "plateau: the rate is multiplied by this", above=0, max=0.99)
    layer_decay: float = key(
        1.0,
        "a block's learning rate is this times that of the block behind it; 1: one rate for all",
        above=0,
        max=1,
    )
    clip_norm: float | None = key(None, "gradients of a step are scaled down to this norm, all together", above=0)
    ema: float | None = key(
        None,
        "validate with, and end with, a moving average of the weights, of which a step keeps this share; null: off",
        above=0,
        max=0.9999,
    )

    def __post_init__(self) -> None:
        self.learning_rate = _as_float(self.learning_rate)


@dataclass
class AugmentConfig:
    """Random changes to training images or their activations; never to validation or test."""

    name: str = key("none", "none, light (flip, shift) or strong (RandAugment)", choices=("none", "light", "strong"))
    flip: bool = key(False, "mirror left-right with probability 0.5")
    shift: float = key(0.0, "largest shift, as a share of the side; edges are reflected", min=0, max=0.5)
    ops: int = key(0, "RandAugment: operations an image", min=0, max=8)
    magnitude: int = key(9, "RandAugment: strength", min=0, max=10)
    crop: float = key(
        1.0, "smallest share of the area that a random crop keeps, enlarged to the whole; 1: off", above=0, max=1
    )
    color: float = key(0.0, "largest change of brightness, contrast and saturation, as a share", min=0, max=1)
    erase: float = key(0.0, "probability that a rectangle of 2 to 33 % of the area is erased", min=0, max=1)
    place: str = key(
        "images",
        "what flip, shift, crop and erase change; activations: those at the boundary, so that frozen layers still run "
        "once",
        choices=("images", "activations"),
    )
    noise: float = key(
        0.0, "noise on activations, as a share of each channel's deviation; needs place=activations", min=0, max=10
    )
    mixup: float = key(
        0.0, "images or activations of a batch, and their targets, mixed in pairs by Beta(mixup, mixup); 0: off", min=0
    )
    cutmix: float = key(
        0.0,
        "a rectangle, of a share from Beta(cutmix, cutmix), is another image's of the batch; with mixup, one of the "
        "two each batch; 0: off",
        min=0,
    )

    @property
    def moves(self) -> bool:
        """Whether images or maps are changed by place: all that `place` is about."""
        return self.flip or self.shift > 0 or self.crop < 1 or self.erase > 0

    @property
    def active(self) -> bool:
        """Whether any image is changed."""
        return self.place == "images" and (self.moves or self.ops > 0 or self.color > 0)

    @property
    def changes_batches(self) -> bool:
        """Whether a stage's training batches are changed where they enter what trains."""
        mixes = self.mixup > 0 or self.cutmix > 0
        return mixes or (self.place == "activations" and (self.moves or self.noise > 0))


@dataclass
class TrainConfig:
    """What every stage shares."""

    batch_size: int = key(32, "images a step", min=1)
    class_weight: str = key(
        "none", "balanced: a class weighs by the inverse of its frequency", choices=("none", "balanced")
    )
    sampling: str = key(
        "none",
        "balanced: every epoch draws as many images of each class: rare ones repeat, of frequent ones a part",
        choices=("none", "balanced"),
    )
    patience: int = key(
        0, "early stopping after this many epochs without a better val loss; restores the best; 0: off", min=0
    )
    val_loss: str = key(
        "cross_entropy",
        "what early stopping and plateau watch: cross_entropy, as val/loss; objective: with label smoothing, as Keras",
        choices=("cross_entropy", "objective"),
    )
    keep: str = key(
        "last",
        "which epoch's weights a stage ends with; best: that of the lowest validation loss, as with patience",
        choices=("last", "best"),
    )


@dataclass
class ScratchConfig:
    """What `recipe=scratch` trains: everything, from random weights."""

    epochs: int = key(30, "epochs of the from-scratch baseline", min=1)


@dataclass
class BottleneckConfig:
    """What `recipe=bottleneck` trains: a head on the cached features of a frozen backbone."""

    epochs: int = key(20, "epochs of the head on the kept features", min=1)


@dataclass
class StageConfig:
    """One stage of gradual unfreezing, an entry of finetune.stages."""

    name: str = key("stage", "the stage's name")
    freeze: Any = key("all", "as finetune.freeze")
    epochs: int = key(1, "epochs", min=1)
    learning_rate: Any = key(None, "instead of the optimizer's, as there", above=0, word=AUTO_RATE)
    optimizer: OptimizerConfig | None = key(
        None, "default: finetune.head_optimizer while all is frozen, else optimizer"
    )

    def __post_init__(self) -> None:
        self.learning_rate = _as_float(self.learning_rate)


@dataclass
class FinetuneConfig:
    """What `recipe=finetune` trains: stages that thaw the backbone from a boundary on."""

    freeze: Any = key(
        "${backbone.freeze}", "boundary: index N (layers[:N] stay frozen), layer, block, fraction, all, none"
    )
    batchnorm: str = key(
        "frozen",
        "frozen: statistics stay as they are; trainable: those of thawed layers are updated",
        choices=("frozen", "trainable"),
    )
    head_epochs: int | None = key(None, "epochs of stage head, everything frozen, if it is trained; default: 3", min=1)
    epochs: int | None = key(
        None, "epochs of stage thaw, from the boundary on; default: those of finetune.steps, but 4 to 30", min=1
    )
    # A run of before this key was stored without it, and had 500.
    steps: Any = key(
        500,
        "about how many steps stage thaw takes, if finetune.epochs is not given; auto: 400 at 224 pixels, up to twice "
        "as many, and as many epochs at least, at smaller sides",
        min=1,
        word=AUTO_STEPS,
        whole=True,
    )
    fallback: bool = key(
        False, "end with the head alone where validation is worse with what was thawed, by more than a standard error"
    )
    head_optimizer: OptimizerConfig = key(OptimizerConfig, "optimizer of stage head")
    stages: list[StageConfig] = key([], "stages instead of head and thaw, for gradual unfreezing")

    def __post_init__(self) -> None:
        self.steps = _as_int(self.steps)


@dataclass
class CacheConfig:
    """What is computed once, ever: decoded pixels and frozen activations, by the content of every image."""

    dir: str = key("${outputs}/cache", "folder of the cache; parallel runs on any data sets may share it")
    max_gb: float = key(
        20.0,
        "budget in GB (1e9 bytes) of all that is kept; the least recently used goes first; 0: keep nothing",
        min=0,
        max=1_000_000,  # a petabyte: no disk is larger, and infinity is no number to print a plan with
    )
    views: int = key(
        0, "augmented views kept of an image, cycled over the epochs; 0: every epoch augments anew", min=0, max=1000
    )


@dataclass
class CheckpointConfig:
    """What a run needs to resume where it stopped, in checkpoints/ of its folder; removed when it has finished."""

    minutes: float = key(
        10.0,
        "minutes between checkpoints inside an epoch; an epoch's end writes one too, very short epochs share one",
        above=0,
    )
    keep: int = key(
        2, "newest checkpoints that stay on disk; where one is damaged, the one before it is used", min=1, max=1000
    )


@dataclass
class TrackingConfig:
    """MLflow."""

    uri: str = key("sqlite:///${outputs}/mlflow.db", "tracking server or store")
    experiment: str = key("thaw", "experiment's name")
    log_model: bool = key(True, "keep the trained network in the store")
    complete: str = key(
        "best",
        "which runs keep network, pictures and predictions: of a sweep those that were the best so far, all, or none",
        choices=("best", "all", "none"),
    )
    register: str | None = key(
        None,
        "register the network under this name; alias champion: the first, then whichever is better on the same test "
        "images; of a sweep its best by validation, at its end",
    )


@dataclass
class SweepConfig:
    """What `-m` does: which settings a sweep tries, how it stops hopeless ones, and what its jobs run on."""

    sampler: str = key(
        "grid",
        "grid: every combination; random: drawn from the space; tpe: drawn where earlier ones did well",
        choices=("grid", "random", "tpe"),
    )
    trials: int | None = key(
        None, "settings in all, those of earlier starts among them; default: all of a grid, else 20", min=1
    )
    space: Any = key(
        None, "settings by key: {head.dropout: uniform(0,0.5), optimizer.learning_rate: log(1e-5,1e-2), seed: [0,1]}"
    )
    pruner: str = key(
        "none",
        "stops jobs that do worse at an epoch: median of all jobs, or hyperband; none: every job trains to its end",
        choices=("none", "median", "hyperband"),
    )
    pruner_warmup: int = key(1, "epochs of each stage after which no job is stopped", min=0)
    objectives: Any = key(
        None,
        "metrics and direction: {val/accuracy: maximize, time/total: minimize}; default: the run's objective",
    )
    workers: Any = key("auto", "jobs at a time; auto: one a GPU, else by cores and memory, eight cores each")
    reuse: bool = key(True, "take over runs of the same config, data and code from other sweeps instead of repeating")
    retries: int = key(1, "repetitions of a job whose process died or lost its store or disk", min=0, max=10)
    storage: str = key(
        "sqlite:///${outputs}/sweeps.db", "database of the study: SQLite, or PostgreSQL or MySQL for many machines"
    )
    study: str | None = key(None, "the study's name; default: made of the command, the code and the data")
    join: str | None = key(None, "work for this study of sweep.storage, without -m, on this or another machine")


@dataclass
class Config:
    """All of conf/, merged."""

    recipe: str = key(
        "finetune",
        "scratch, bottleneck, finetune, or auto: bottleneck or finetune, as measured and within budget",
        choices=("scratch", "bottleneck", "finetune", "auto"),
    )
    budget: str | None = key(None, "time that recipe=auto may take in all, as 90s, 5m or 1h; default: 5m")
    seed: int = key(0, "seed of splits, initial weights, shuffling, augmentation and dropout", min=0, max=2**31 - 1)
    engine: str = key(
        "auto",
        "engine of frozen layers and evaluation; auto: openvino on CPUs, tensorflow on GPUs",
        choices=("auto", "openvino", "tensorflow"),
    )
    precision: str = key(
        "auto",
        "precision of computation, weights stay float32; auto: what this hardware does fast for the network; draft: "
        "what is fastest for frozen layers and many images, to compare runs; a sweep trains its best again with auto",
        choices=("auto", "draft", "float32", "bfloat16", "float16"),
    )
    frozen_precision: str = key(
        "auto",
        "precision of the engine; auto: as precision, and if that is auto too, what the hardware does fast; int8: "
        "quantised on training images, needs nncf",
        choices=("auto", "float32", "bfloat16", "float16", "int8"),
    )
    training_step: str = key(
        "auto",
        "how thawed layers compute: folded multiplies fixed BatchNorm statistics into the weights and chooses a "
        "precision by operation, keras runs them as they are written; auto: folded on CPUs",
        choices=("auto", "folded", "keras"),
    )
    distribute: str = key(
        "none",
        "devices that train; mirrored: all GPUs of this machine, each with its part of every batch of train.batch_size",
        choices=("none", "mirrored"),
    )
    deterministic: bool = key(True, "same command, same machine: same weights, bit for bit")
    resume: str | None = key(None, "id or folder of a run that was stopped: continue where it stopped")
    leak: str = key("warn", "on test images that the run in backbone.weights trained on", choices=("warn", "stop"))
    report: str = key(
        "full",
        "the report of a run; short: without charts as PNG, heat maps and feature maps; none: tables and figures only",
        choices=("full", "short", "none"),
    )
    outputs: str = key("${oc.env:THAW_OUTPUTS,outputs}", "folder for everything that runs write")
    backbone: BackboneConfig = key(BackboneConfig, "")
    dataset: DatasetConfig = key(DatasetConfig, "")
    split: SplitConfig = key(SplitConfig, "")
    head: HeadConfig = key(HeadConfig, "")
    optimizer: OptimizerConfig = key(OptimizerConfig, "")
    augment: AugmentConfig = key(AugmentConfig, "")
    train: TrainConfig = key(TrainConfig, "")
    scratch: ScratchConfig = key(ScratchConfig, "")
    bottleneck: BottleneckConfig = key(BottleneckConfig, "")
    finetune: FinetuneConfig = key(FinetuneConfig, "")
    cache: CacheConfig = key(CacheConfig, "")
    checkpoint: CheckpointConfig = key(CheckpointConfig, "")
    tracking: TrackingConfig = key(TrackingConfig, "")
    sweep: SweepConfig = key(SweepConfig, "")
