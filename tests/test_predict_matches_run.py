"""predict model=RUN gives the probabilities of the run's own predictions.csv, for one network of each family."""

import csv
from pathlib import Path

import pytest

from thaw.config.job import Job
from thaw.config.schema import (
    BackboneConfig,
    BottleneckConfig,
    CacheConfig,
    Config,
    DatasetConfig,
    HeadConfig,
    OptimizerConfig,
    TrackingConfig,
)
from thaw.config.tool_schemas import PredictConfig
from thaw.models.backbone_table import BACKBONES

ROOT = Path(__file__).parents[1]
# The first has weights that Keras's own loader reads from a file, into a graph that depends on them; the second has its
# genuine ones. The others take up to half a minute each.
FAMILIES = ["efficientnet_lite0"] + [
    pytest.param(name, marks=pytest.mark.slow)
    for name in (
        "efficientnetb0", "mobilenet", "vgg16", "resnet50", "resnet50v2", "inceptionv3", "inceptionresnetv2",
        "xception", "mobilenetv2", "mobilenetv3small", "densenet121", "nasnetmobile", "efficientnetv2b0",
        "convnexttiny",
    )
]  # fmt: skip


@pytest.fixture
def fed(tmp_path, monkeypatch):
    """Feeds Keras's own loader from a file of random weights that tell pictures apart."""

    def feed(backbone: BackboneConfig, photos: Path) -> None:
        if BACKBONES[backbone.name].source == "package":
            return
        import keras
        import numpy as np

        from thaw.common import tensorflow_setup
        from thaw.data.decode import decode
        from thaw.models import backbones, weight_files

        tensorflow_setup.start_tensorflow(1, deterministic=True)
        model = next(backbones.build_variants(backbone))
        # Statistics of real pictures: through random layers with others all pictures fade to one.
        normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
        for layer in normalizations:
            layer.momentum = 0.0
        size, files = model.input_shape[1], sorted(photos.glob("*/*.jpg"))
        images = np.stack([decode(file, size=(size, size)).resized(size) for file in files])
        model(images.astype(np.float32), training=True)
        file = tmp_path / "published.h5"
        from tests.models.test_graph_digest import legacy_h5

        legacy_h5(keras.Model(model.inputs, model.outputs), file)
        monkeypatch.setattr(weight_files, "_get_file", lambda *_, **__: str(file))

    return feed


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@pytest.mark.parametrize("name", FAMILIES)
def test_a_run_is_predicted_again_as_it_was_judged(fed, photos, tmp_path, monkeypatch, name: str) -> None:
    from thaw.run import run
    from thaw.tools import predict

    backbone = BackboneConfig(
        name=name, image_size=max(BACKBONES[name].min_size, 64), alpha=0.25 if name == "mobilenet" else None
    )
    fed(backbone, photos)
    outputs = tmp_path / "outputs"
    uri = f"sqlite:///{outputs}/mlflow.db"
    config = Config(
        recipe="bottleneck",
        outputs=str(outputs),
        backbone=backbone,
        dataset=DatasetConfig(name="image_folder", path=str(photos)),
        head=HeadConfig(name="linear"),
        bottleneck=BottleneckConfig(epochs=3),
        cache=CacheConfig(dir=str(tmp_path / "cache")),
        optimizer=OptimizerConfig(name="rmsprop", learning_rate=1e-3),
        tracking=TrackingConfig(uri=uri, log_model=False),
    )
    folder = outputs / "run"
    run(config, Job(ROOT, folder))
    with (folder / "report" / "predictions.csv").open(newline="") as lines:
        judged = {str(photos / row["image"]): row for row in csv.DictReader(lines)}
    assert len({row["confidence"] for row in judged.values()}) > 1  # the pictures are told apart
    asked = PredictConfig(
        images=list(judged), model=str(folder), format="csv", output=str(tmp_path / "again.csv"), outputs=str(outputs),
        tracking_uri=uri,
    )  # fmt: skip
    predict.predict(asked)
    with (tmp_path / "again.csv").open(newline="") as lines:
        again = {(row["image"], row["class"]): float(row["probability"]) for row in csv.DictReader(lines)}
    for image, row in judged.items():
        assert again[image, row["predicted"]] == pytest.approx(float(row["confidence"]), abs=1e-6)
        assert again[image, row["label"]] == pytest.approx(float(row["probability_of_label"]), abs=1e-6)
