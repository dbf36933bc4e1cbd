"""The Python interface behind `from thaw import ...`: load, predict, plan_freeze, features and train."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thaw import tracking
from thaw.cache import DiskCache
from thaw.cli import command_line, main
from thaw.cli.argument_quoting import quote, quote_texts
from thaw.cli.compose import compose_tool_config
from thaw.cli.error_handling import hydra_errors_explained
from thaw.common import tensorflow_setup
from thaw.common.errors import UserError, joined
from thaw.config import install_paths
from thaw.config.schema import Config
from thaw.config.tool_schemas import ExploreConfig, LayersConfig, PredictConfig
from thaw.config.yaml_text import keep_yaml_texts
from thaw.data import pixels
from thaw.data.catalog import UNASSIGNED, Catalog
from thaw.data.picture_input import pixels_of
from thaw.explore import backbone_features
from thaw.models import backbone_table, freeze
from thaw.models.freeze import FreezePlan
from thaw.results import ensemble, predicted_files, trained_classifier
from thaw.results.augmented_views import VIEWS
from thaw.results.ensemble import Ensemble
from thaw.results.predicted_files import ImageReader, NetworkInput, stacked
from thaw.results.result import RunResult
from thaw.results.trained_classifier import Classifier, ProbabilityFunction

Images = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | npt.NDArray[np.uint8]
"""A file, a folder (its pictures at any depth), a pattern, a list of these; or uint8 (N, H, W, 3), RGB, 0-255."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a trained network says of N images.

    Attributes:
        images: N names: the files in the order they were given, folders and patterns sorted; of arrays "0", "1", ...
        class_names: N names, each of the most probable class.
        probabilities: float32 (N, C), in the order of `TrainedModel.class_names`.
    """

    images: list[str]
    class_names: list[str]
    probabilities: npt.NDArray[np.float32]


class TrainedModel:
    """A trained run's network, computed as the run was judged, or several that answer together; made by `load`.

    Attributes:
        class_names: C names, in the order of the network's outputs, of several networks the first one's.
        image_size: side of the network's square input in pixels, of several the first one's.
        keras_models: the Keras models: raw RGB 0-255 in, probabilities out, in float32.
    """

    def __init__(self, classifiers: Sequence[Classifier], config: PredictConfig) -> None:
        ensemble.check_same_classes(classifiers)
        self.class_names = classifiers[0].class_names
        self.image_size = classifiers[0].image_size
        self.keras_models = [classifier.model for classifier in classifiers]
        self._classifiers, self._config = list(classifiers), config

    @property
    def keras_model(self) -> Any:
        """The Keras model of a single network; raises UserError where there are several, see `keras_models`."""
        if len(self.keras_models) > 1:
            raise UserError(f"these are {len(self.keras_models)} networks: take one of keras_models")
        return self.keras_models[0]

    def predict(self, images: Images, *, calibrated: bool = False, tta: str = "none") -> Predictions:
        """Return the most probable class of every image, and the probabilities of all classes.

        Files are decoded as in training; arrays of another size are resized as files are. Of several networks, and of
        several views, the probabilities are the mean.

        Args:
            images: see `thaw.api.Images`.
            calibrated: probabilities after the temperature that the run fitted on validation; classes stay the same.
            tta: test-time augmentation: `"none"`, `"flip"` (the image and its mirror image) or `"5crop"` (corners and
                centre of the image at 8/7 of the size).

        Raises:
            UserError: there is no image, no file matches, files cannot be read (all of them are listed), or there is
                no temperature.

        Examples:
            >>> model = thaw.load("3f2a91")
            >>> predictions = model.predict("photos")
            >>> for file, name in zip(predictions.images, predictions.class_names):
            ...     print(file, name)
        """
        if isinstance(images, Sequence | np.ndarray) and not len(images):
            raise UserError("there are no images to predict: give an array, paths or a folder")
        if tta not in VIEWS:
            raise UserError(f"tta={tta} is not a choice. Choose one of: {joined(VIEWS)}")
        network = self._network(tta, calibrated)
        if isinstance(images, np.ndarray):
            arrays = _checked(images)
            names = [str(i) for i in range(len(arrays))]
            rows = [network(*_resized(batch, network.inputs)) for batch in _batches(arrays)]
        else:
            names = _find_files(images)
            rows = list(_predicted(names, network))
        probabilities = np.concatenate(rows)
        best = probabilities.argmax(axis=1)
        return Predictions(names, [self.class_names[i] for i in best], probabilities)

    def _network(self, tta: str, calibrated: bool) -> Ensemble:
        functions = list(self._functions)
        if calibrated:
            functions = [_calibrated(function, one) for function, one in zip(functions, self._classifiers, strict=True)]
        return ensemble.combine(self._classifiers, functions, tta=tta, bits=self._config.bits)

    @cached_property
    def _functions(self) -> list[ProbabilityFunction]:
        return [
            trained_classifier.uncalibrated_function(classifier, self._config.engine, self._config.precision)
            for classifier in self._classifiers
        ]


def _calibrated(function: ProbabilityFunction, classifier: Classifier) -> ProbabilityFunction:
    calibrate = trained_classifier.calibration_function(classifier)
    return ProbabilityFunction(function.choice, lambda images: calibrate(function(images)))


def _resized(images: npt.NDArray[np.uint8], inputs: Sequence[NetworkInput]) -> list[npt.NDArray[np.uint8]]:
    """Return images, uint8 (B, H, W, 3), as each input has them, uint8 (B, S, S, 3)."""
    return [np.stack([pixels_of(image, wanted.size) for image in images]) for wanted in inputs]


def _predicted(files: list[str], network: Ensemble) -> Iterator[npt.NDArray[np.float32]]:
    """Yield probabilities, float32 (B, C), of all files; raise UserError at the end that names the unreadable ones."""
    reader = ImageReader(files, network.inputs)
    for group in reader.groups():
        if group and not reader.unreadable:
            yield network(*stacked([pixels for _, pixels in group]))
    reader.check_all_read()


def load(run: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], overrides: Sequence[str] = ()) -> TrainedModel:
    """Return the network of a trained run, or several networks as one.

    Args:
        run: id of a run or its first six characters or more, a run's folder, or a sweep's id for its best run, of a
            cross-validation that kept all networks for those of all folds. Of a list of these, the mean of the
            probabilities is predicted; the networks need the same classes.
        overrides: keys of `thaw predict`, as `"tracking_uri=http://host:5000"` or `"engine=tensorflow"`.

    Raises:
        UserError: there is no such run, it left no network, or the networks have other classes.

    Examples:
        >>> import thaw
        >>> model = thaw.load("outputs/runs/2026-11-28/12-00-00-000000")
        >>> model.predict(["lion.jpg"]).class_names
        ['lion']
        >>> both = thaw.load(["3f2a91", "77c0de"])
    """
    if isinstance(run, str | os.PathLike):
        model = os.fspath(run)
    else:
        model = f"[{','.join(quote(os.fspath(entry)) for entry in run)}]"
    config: PredictConfig = _compose("predict", PredictConfig, [*overrides, f"model={model}"])
    _fix_threads()
    classifiers = ensemble.load_classifiers(config.model, config.backbone, Path(config.outputs), config.tracking_uri)
    return TrainedModel(classifiers, config)


def plan_freeze(backbone: str, freeze_at: object = None, overrides: Sequence[str] = ()) -> FreezePlan:
    """Return which layers of a backbone a `finetune.freeze` keeps frozen, and what is cut and trained there.

    Args:
        backbone: a choice of conf/backbone, such as `"inceptionv3"`.
        freeze_at: as `finetune.freeze`: an index N (`layers[:N]` stay frozen), the name of a layer or block, a fraction
            of the layers, `"all"` or `"none"`; None: the backbone's own boundary.
        overrides: keys of `thaw layers`, as `"backbone.image_size=299"`.

    Returns:
        The plan as data; its `summary()` is the line that a run prints.

    Raises:
        UserError: there is no such backbone, layer or block; the nearest name is given.

    Examples:
        >>> print(thaw.plan_freeze("vgg16", "block4").summary())
        frozen 15/19 · boundary block4_pool, end of block block4 · cut 1 tensor, 0.4 MB/image · trainable 48.1 %
    """
    config: LayersConfig = _compose("layers", LayersConfig, [*overrides, f"backbone={backbone}"])
    chosen = tracking.resolve_run_weights(config.backbone, config.tracking_uri, Path(config.outputs))
    backbone_table.check_backbone(chosen)
    _fix_threads()
    tensorflow_setup.start_tensorflow(0, None)
    from thaw.models import backbones

    # A plan needs no weights, but the graph that they call for.
    built = backbones.from_model(chosen, next(backbones.build_variants(chosen)))
    return freeze.make_plan(chosen.freeze if freeze_at is None else freeze_at, built.graph, chosen.name, "frozen")


def features(backbone: str, images: Images, overrides: Sequence[str] = ()) -> npt.NDArray[np.float32]:
    """Return the pooled features of images from a pretrained backbone; what was computed before comes from the cache.

    They are the rows that `recipe=bottleneck` and `thaw explore` use and keep: each content is computed once.

    Args:
        backbone: a choice of conf/backbone, such as `"efficientnet_lite0"`.
        images: see `thaw.api.Images`.
        overrides: keys of `thaw explore`, as `"backbone.weights=RUN_ID"`, `"cache.dir=/big/cache"` or
            `"cache.max_gb=0"` to keep nothing. `precision` is not `int8` or `draft` here.

    Returns:
        float32 (N, D), in the order of the images; D is the backbone's number of channels, 1,280 of EfficientNet-Lite0.

    Raises:
        UserError: files cannot be read (all of them are listed), the backbone has random weights, or the precision
            depends on the images.

    Examples:
        >>> thaw.features("efficientnet_lite0", "photos").shape
        (520, 1280)
    """
    config: ExploreConfig = _compose("explore", ExploreConfig, [*overrides, f"backbone={backbone}"])
    if config.precision in ("int8", "draft"):
        raise UserError(
            f"precision={config.precision} may quantise the backbone on the images of the call: features of two calls, "
            "as of training and test images, could not be compared. Use precision=auto or bfloat16"
        )
    backbone_features.check_supported(config)
    config.backbone = tracking.resolve_run_weights(config.backbone, config.tracking_uri, Path(config.outputs))
    store = DiskCache(Path(config.cache.dir).expanduser().absolute(), config.cache.max_gb * 1e9, Path(config.outputs))
    catalog = _catalog(images)
    rows = np.arange(len(catalog))
    read = pixels.of_catalog(catalog, rows, backbone_table.input_size(config.backbone), store)
    return backbone_features.pooled_features(config, read, rows, store, deterministic=_fix_threads() or None)


def train(overrides: Sequence[str] = ()) -> RunResult:
    """Train one run, as `thaw train` does with the same arguments, and return its result.

    It prints what the command prints. A sweep (`-m`) is the command line's: here a loop takes its place. In a process
    that has used TensorFlow before thaw, add `"deterministic=false"`: TensorFlow's threads are fixed by its first use.

    Args:
        overrides: keys of `thaw train`, as `"backbone=vgg16"`, `"experiment=quickstart"` or `"resume=RUN_ID"`; Hydra's
            own flags but `--config-dir=DIR` are not taken.

    Returns:
        What result.json holds: metrics, the run's id, hashes of its weights, config and data.

    Raises:
        UserError: a key or value is wrong, or the run cannot be done; the message is the command line's.

    Examples:
        >>> result = thaw.train(["dataset=image_folder", "dataset.path=photos", "recipe=bottleneck"])
        >>> result.metrics["test/accuracy"]
        0.96
        >>> thaw.load(result.run_id).predict("new photos")
    """
    with _outputs_of_the_command_line(), hydra_errors_explained(Config), contextlib.chdir(Path.cwd()):
        keep_yaml_texts()
        return main.train_once(quote_texts(command_line.parse_tool_arguments(overrides, "train"), Config))


def _compose(name: str, schema: type, overrides: Sequence[str]) -> Any:
    with _outputs_of_the_command_line(), hydra_errors_explained(schema):
        keep_yaml_texts()
        arguments = quote_texts(command_line.parse_tool_arguments(overrides, name), schema, sweeps=False)
        return compose_tool_config(name, schema, arguments)


@contextlib.contextmanager
def _outputs_of_the_command_line() -> Iterator[None]:
    """Let conf/ find the outputs that the command line would use, and leave the environment as it was."""
    before = os.environ.get("THAW_OUTPUTS")
    os.environ["THAW_OUTPUTS"] = str(Path(before or install_paths.default_outputs()).absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ["THAW_OUTPUTS"]
        else:
            os.environ["THAW_OUTPUTS"] = before


def _fix_threads() -> bool:
    """Fix TensorFlow's threads as a deterministic run needs them, which its first use makes final.

    Returns whether they are so; in a process that has used TensorFlow otherwise they are not.
    """
    tensorflow_setup.import_tensorflow()
    import tensorflow as tf

    with contextlib.suppress(RuntimeError), tensorflow_setup.quiet_stderr():
        tf.config.threading.set_inter_op_parallelism_threads(1)
    return bool(tf.config.threading.get_inter_op_parallelism_threads() == 1)


def _checked(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images):
        raise UserError(f"images are uint8 (N, H, W, 3), RGB, 0-255; these are {images.dtype} {images.shape}")
    return images


def _find_files(images: Any) -> list[str]:
    entries = images if isinstance(images, list | tuple) else [images]
    found = (predicted_files.find_images(os.fspath(entry)) for entry in entries)
    return [file for files in found for file in files]  # twice given is two rows


def _batches(images: Any) -> Iterator[Any]:
    return (images[i : i + predicted_files.DECODE_GROUP] for i in range(0, len(images), predicted_files.DECODE_GROUP))


def _catalog(images: Images) -> Catalog:
    """Return the images as a data set without classes and splits."""
    arrays = _checked(images) if isinstance(images, np.ndarray) else None
    files = _find_files(images) if arrays is None else []
    names = tuple(files) if arrays is None else tuple(f"{i:09}" for i in range(len(arrays)))
    paths = tuple(str(Path(file).absolute()) for file in files) if arrays is None else None
    labels, splits = np.zeros(len(names), np.int32), np.full(len(names), UNASSIGNED, np.int8)
    return Catalog(names, paths, arrays, labels, ("image",), splits)
