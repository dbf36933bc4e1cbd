"""A folder with planted faults, explored once, with a stand-in for the backbone: no TensorFlow."""

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thaw.config.schema import BackboneConfig, CacheConfig, DatasetConfig
from thaw.config.tool_schemas import ExploreConfig
from thaw.explore import backbone_features
from thaw.tools import explore

from . import flawed_photos


def colour_features(config, pixels, indices, store):
    """Features that tell colour_features and their places roughly: 4x4 of each channel."""
    small = [np.asarray(Image.fromarray(image).resize((4, 4), Image.Resampling.BOX)) for image in pixels.take(indices)]
    return np.stack(small).reshape(len(indices), -1).astype(np.float32) / 255


@dataclass(frozen=True)
class Explored:
    """The result of an exploration."""

    folder: Path  # with explore.html and the CSV files
    data: Path
    planted: dict[str, set[str]]  # files by kind of finding
    out: str  # printed lines


def explore_config(data: Path, out: Path, **keys) -> ExploreConfig:
    return ExploreConfig(
        backbone=BackboneConfig(image_size=64),
        dataset=DatasetConfig(name="image_folder", path=str(data)),
        cache=CacheConfig(dir=str(out / "cache")),
        output=str(out / "explore"),
        **{"similarity": 0.98, **keys},  # of these features, not of a backbone's
    )


@pytest.fixture(scope="session")
def explored(tmp_path_factory) -> Explored:
    folder = tmp_path_factory.mktemp("explored")
    data = flawed_photos.write_photos(folder / "my photos (1)", images=30)
    planted = flawed_photos.plant_faults(data)
    before = listing(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbone_features, "pooled_features", colour_features)
        out = printed(lambda: explore.explore(explore_config(data, folder, seed=13)))
    assert listing(data) == before, "the user's files are left alone"
    return Explored(folder / "explore", data, planted, out)


def printed(call) -> str:
    """Return what a call prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        call()
    return out.getvalue()


def listing(folder: Path) -> list[tuple[str, bytes]]:
    return [(os.fsdecode(p), p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()]
