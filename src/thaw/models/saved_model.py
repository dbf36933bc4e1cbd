"""A trained network on disk: a folder with its weights, its classes and the config that it is built from."""

import dataclasses
import hashlib
import json
import os
import shutil
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from thaw.common.errors import UserError
from thaw.config.schema import BackboneConfig, HeadConfig
from thaw.models import backbone_table

if TYPE_CHECKING:  # classes and size of a saved network are read without TensorFlow
    from thaw.models.network import Network

WEIGHTS_FILE, CLASSES_FILE, CONFIG_FILE, GRAPH_FILE = "model.keras", "classes.json", "config.yaml", "graph.json"
CALIBRATION_FILE = "calibration.json"  # of runs whose temperature was fitted

QUANTIZED_FILE = "frozen_int8.xml"  # of a run in int8: the frozen part as OpenVINO has it, its weights beside it
QUANTIZED_TAG = "thaw.quantized_sha256"  # of such a run


@dataclass(frozen=True)
class SavedNetwork:
    """The files of a trained network."""

    weights_file: Path  # .keras
    folder: Path  # of classes, config and graph digest

    def class_names(self) -> list[str]:
        """Return class names in the order of the network's outputs."""
        return list(json.loads((self.folder / CLASSES_FILE).read_text(encoding="utf-8")))

    def config(self) -> dict[str, Any]:
        """Return the run's config as nested dicts."""
        return dict(yaml.safe_load((self.folder / CONFIG_FILE).read_text(encoding="utf-8")))

    def graph(self) -> dict[str, str]:
        """Return `sha256`, the digest of the trained graph, and `keras`, the version that computed it.

        It is empty for networks that were saved before this file existed.
        """
        file = self.folder / GRAPH_FILE
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}

    def dataset_bits(self) -> int | None:
        """Return `dataset.bits` of the run; None for runs from before this key existed."""
        bits = self.config().get("dataset", {}).get("bits")
        return None if bits is None else int(bits)

    def dataset_resize(self) -> str:
        """Return `dataset.resize` of the run; runs from before this key existed squashed their pictures."""
        return str(self.config().get("dataset", {}).get("resize", "squash"))

    def temperature(self) -> float | None:
        """Return the temperature that the run fitted to its probabilities; None where there is none.

        Runs of earlier versions have none, nor those whose validation images were too few to fit one.
        """
        file = self.folder / CALIBRATION_FILE
        if not file.is_file():
            return None
        try:
            temperature = json.loads(file.read_text(encoding="utf-8"))["temperature"]
            return None if temperature is None else float(temperature)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file} does not hold a temperature. Bring it back from the run's artifacts") from error

    def image_size(self) -> int:
        """Return the side of the network's square input in pixels."""
        return backbone_table.input_size(_section(BackboneConfig, self.config()["backbone"]))


def save_network(network: "Network", config: str, folder: Path, existing_file: Path | None = None) -> SavedNetwork:
    """Write the network into a folder; its .keras file opens with Keras alone and takes raw RGB 0-255.

    Args:
        network: the trained network.
        config: the run's resolved config as YAML.
        folder: created if it does not exist.
        existing_file: a file of the same network, which is linked instead of written again.
    """
    save_description(network, config, folder)
    if existing_file is None:
        network.model.save(folder / WEIGHTS_FILE)
    else:
        _link(existing_file, folder / WEIGHTS_FILE)
    return SavedNetwork(folder / WEIGHTS_FILE, folder)


def save_description(network: "Network", config: str, folder: Path) -> None:
    """Write all files of `save_network` but the weights."""
    from thaw.models import graph_digest

    folder.mkdir(parents=True, exist_ok=True)
    (folder / CLASSES_FILE).write_text(json.dumps(list(network.class_names), ensure_ascii=False), encoding="utf-8")
    (folder / CONFIG_FILE).write_text(config, encoding="utf-8")
    content = {"sha256": graph_digest.graph_sha256(network.model), "keras": version("keras")}
    (folder / GRAPH_FILE).write_text(json.dumps(content), encoding="utf-8")


def quantized_files(folder: Path) -> list[Path]:
    """Return the files of a quantised frozen part in a network's folder, whether they are there or not."""
    return [folder / QUANTIZED_FILE, (folder / QUANTIZED_FILE).with_suffix(".bin")]


def quantized_sha256(folder: Path) -> str:
    """Return the sha256 of the quantised frozen part in a network's folder: of its graph, then of its weights."""
    digest = hashlib.sha256()
    for file in quantized_files(folder):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def check_quantized(folder: Path, sha256: str) -> Path:
    """Return the file of the quantised frozen part; raise UserError when it is missing or not the run's."""
    missing = [file for file in quantized_files(folder) if not file.is_file()]
    remedy = (
        "Bring it back from the run's artifacts in the store (network/), or predict with precision=float32, which runs "
        "the kept network: result.json has the accuracy of both"
    )
    if missing:
        raise UserError(f"{missing[0]} is missing: it is the quantised part that the run was judged with. {remedy}")
    if sha256 and quantized_sha256(folder) != sha256:
        raise UserError(f"{folder / QUANTIZED_FILE} or the .bin file beside it is not the one of the run. {remedy}")
    return folder / QUANTIZED_FILE


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def load_network(saved: SavedNetwork) -> "Network":
    """Build the network from its config and load its weights; no code of the file is run.

    Raises:
        UserError: there is no network; the built graph is not the trained one (weights may fit other graphs too, which
            compute other probabilities); or the weights do not fit.
    """
    if not saved.weights_file.is_file():
        raise UserError(f"there is no trained network at {saved.weights_file}")
    network = _build_stored_graph(saved)
    try:
        network.model.load_weights(saved.weights_file)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{saved.weights_file} does not hold the weights of that network: {reason}") from error
    return network


def _build_stored_graph(saved: SavedNetwork) -> "Network":
    """Return the network with random weights and, of the graphs that its backbone may have, the trained one."""
    from thaw.models import backbones, graph_digest, network
    from thaw.models import weight_files as weights

    content, graph = saved.config(), saved.graph()
    backbone, head = _section(BackboneConfig, content["backbone"]), _section(HeadConfig, content["head"])
    stored = weights.stored_graph(str(saved.weights_file))
    # Digests of different versions of Keras are not comparable; then the file is compared setting by setting.
    comparable = graph.get("keras") == version("keras")
    difference = None
    for model in backbones.build_variants(backbone):
        joined = network.attach_head(backbones.from_model(backbone, model), head, tuple(saved.class_names()))
        built = graph_digest.describe_model(joined.model)
        difference = stored and graph_digest.first_difference(stored, built)
        if graph_digest.description_sha256(built) == graph.get("sha256") if comparable else difference is None:
            return joined
    raise UserError(
        f"{saved.weights_file} was trained as another network than {CONFIG_FILE} beside it says and this version builds"
        f": {difference or 'its digest is another one'}. Was a file of the folder replaced? Train anew, or use the "
        "version of thaw and Keras that trained it"
    )


def _section(kind: Any, content: dict[str, Any]) -> Any:
    """Return a section of the schema from a stored one, without keys that the schema does not know."""
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in content.items() if key in known})
