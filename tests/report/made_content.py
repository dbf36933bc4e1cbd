"""Contents of reports with numbers that look like those of a run, made without one."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from thaw.analysis.figures import (
    CalibrationFigures,
    ClassFigures,
    ConfusedPair,
    Curve,
    ReliabilityBin,
    Share,
    SplitFigures,
    ThresholdRow,
    Verdict,
)
from thaw.report.content import (
    BestEpoch,
    BlockState,
    FeatureMap,
    Gallery,
    GalleryImage,
    ReportContent,
    StagePlan,
)

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def share(count: int, n: int) -> Share:
    """A share with a rough interval: the drawing does not care whose it is."""
    if n == 0:
        return Share(None, None, None)
    value = count / n
    half = 1.96 * (value * (1 - value) / n + 1 / n**2) ** 0.5
    return Share(value, max(0.0, value - half), min(1.0, value + half))


def make_confusion(classes: int, images: int, accuracy: float = 0.85, seed: int = 0) -> np.ndarray:
    """A matrix (C, C) with `images` images of each class, a few confusions being frequent."""
    rng = np.random.default_rng(seed)
    matrix = np.zeros((classes, classes), int)
    for i in range(classes):
        weights = rng.pareto(1.0, classes)
        weights[i] = 0
        spread = np.clip(rng.normal(accuracy, 0.08), 0.3, 0.99)
        p = (1 - spread) * weights / max(weights.sum(), 1e-9)
        p[i] = 1 - p.sum()
        matrix[i] = rng.multinomial(images, p)
    return matrix


def make_split(
    confusion: np.ndarray, class_names: Sequence[str], name: str = "test", temperature: float | None = 1.37
) -> SplitFigures:
    """Figures that agree with a confusion matrix as far as the report can tell."""
    classes, total = len(class_names), int(confusion.sum())
    of_class, predicted, right = confusion.sum(1), confusion.sum(0), np.diag(confusion)
    figures = [
        ClassFigures(
            class_names[i],
            int(of_class[i]),
            int(predicted[i]),
            int(right[i]),
            int(of_class[i]) * 5,
            share(right[i], predicted[i]),
            share(right[i], of_class[i]),
            _f1(right[i], predicted[i], of_class[i]),
            0.98 if of_class[i] else None,
            0.93 if of_class[i] else None,
        )
        for i in range(classes)
    ]
    wrong = [(int(confusion[i, j]), i, j) for i, j in zip(*np.nonzero(confusion), strict=True) if i != j]
    pairs = [
        ConfusedPair(class_names[i], class_names[j], n, n / of_class[i])
        for n, i, j in sorted(wrong, key=lambda entry: -entry[0])[:50]
    ]
    curved = [1] if classes == 2 else list(range(min(classes, 10 if classes > 20 else 20)))
    return SplitFigures(
        name=name,
        class_names=tuple(class_names),
        images=total,
        accuracy=share(int(right.sum()), total),
        macro_f1=float(np.nanmean([c.f1.value if c.f1.value is not None else np.nan for c in figures])),
        top5_accuracy=0.991 if classes > 5 else None,
        majority_class=class_names[int(of_class.argmax())],
        majority_share=float(of_class.max() / total),
        confusion=confusion.tolist(),
        pairs=pairs,
        classes=figures,
        roc=[_roc(class_names[i], 0.06 + 0.01 * i) for i in curved],
        precision_recall=[_precision_recall(class_names[i], 2 + 0.3 * i) for i in curved],
        macro_roc_auc=0.981,
        macro_average_precision=0.927,
        thresholds=[_threshold(t / 20) for t in range(1, 20)] if classes == 2 else [],
        calibration=_calibration(0.09, total),
        temperature=temperature,
        calibrated=_calibration(0.015, total) if temperature else None,
    )


def make_content(
    class_names: Sequence[str] = CLASSES, images: int = 100, confusion: np.ndarray | None = None, **changed: Any
) -> ReportContent:
    """A whole content: two stages, galleries, maps, everything."""
    if "splits" not in changed:
        matrix = make_confusion(len(class_names), images) if confusion is None else confusion
        val = make_split(make_confusion(len(class_names), max(2, images // 3), seed=1), class_names, "val")
        changed["splits"] = [make_split(matrix, class_names), val]
    test = changed["splits"][0]
    accuracy = f"{test.accuracy.value:.1%}"
    history = make_history()
    values: dict[str, Any] = {
        "title": "finetune · efficientnet_lite0 · photos",
        "subtitle": f"{len(class_names)} classes · {test.images:,} test images",
        "verdict": Verdict(
            f"{accuracy} of {test.images:,} test images are right.",
            [
                f"{accuracy} of {test.images:,} test images are right (95 % interval 83.0 % to 87.4 %).",
                f"Always answering {test.majority_class} would give {test.majority_share:.1%}.",
                "Thawing gained 2.1 points over the head alone (89.0 % to 91.1 % on validation).",
                "The three worst confusions: cat for dog (14), bird for deer (9), truck for automobile (8).",
            ],
        ),
        "facts": [
            ("run", "4f2c9b1e0d3a4b5c8e7f6a5b4c3d2e1f"),
            ("command", "python train.py dataset=image_folder dataset.path='my photos (1)' finetune.freeze=block3b"),
            ("data", "photos · sha256 4be1c7a90f6b"),
            ("weights", "sha256 " + "0123456789abcdef" * 4),
        ],
        "history": history,
        "best_epochs": [
            BestEpoch("head", 4, history[3]["val_loss"], history[3]["val_accuracy"], False),
            BestEpoch("thaw", 8, history[7]["val_loss"], history[7]["val_accuracy"], True),
        ],
        "val_loss_meaning": "The validation loss is the cross-entropy without label smoothing and class weights.",
        "plans": make_plans(),
        "seconds": {"scan": 2.1, "extract": 41.5, "train": 230.2, "evaluate": 9.4, "report": 6.0, "total": 301.0},
        "cache": {"hits": 3068, "misses": 341, "bytes": 412_000_000},
        "galleries": [
            make_gallery("mistakes", "Most confident mistakes", class_names, 24, wrong=True),
            make_gallery("doubtful", "Least certain hits", class_names, 12),
        ],
        "explanations": [make_gallery("grad-cam", "Grad-CAM of mistakes", class_names, 6, wrong=True, overlay=True)],
        "feature_maps": [
            make_feature_map("before", class_names, 300, 2.2),
            make_feature_map("after", class_names, 300, 0.9),
        ],
        "inputs": [make_gallery("augmented", "Augmented views", class_names, 8)],
        "model_summary": "Model: network\n" + "\n".join(f"conv2d_{i:<40}(None, 112, 112, 32)  896" for i in range(30)),
        "remarks": ["Grad-CAM is left out for 3 images whose files have changed."],
    }
    return ReportContent(**(values | changed))


def make_history(head: int = 6, thaw: int = 4) -> list[Mapping[str, Any]]:
    """Epochs of two stages: the second starts worse and ends better."""
    rows = []
    for i in range(head + thaw):
        step, stage = (i, "head") if i < head else (i - head + 3, "thaw")
        loss = 1.4 * 0.72**step + 0.12
        rows.append(
            {
                "stage": stage, "epoch": i + 1, "loss": loss, "accuracy": 1 - 0.45 * 0.75**step - 0.03,
                "val_loss": loss + 0.02 * step, "val_accuracy": 1 - 0.4 * 0.8**step - 0.06,
                "learning_rate": 1e-3 if stage == "head" else 1e-4 * 0.5 ** (i - head),
            }
        )  # fmt: skip
    return rows


def make_plans() -> list[StagePlan]:
    """Seventeen blocks: all frozen, then the last five thawed, one of them partly."""
    names = ["stem", *(f"block{i}{letter}" for i in range(1, 8) for letter in "ab"), "top", "head"]
    head = [BlockState(name, "thawed" if name == "head" else "frozen", 5, 40_000) for name in names]
    states = ["frozen"] * 11 + ["partly thawed"] + ["thawed"] * (len(names) - 12)
    thaw = [BlockState(name, state, 7, 90_000) for name, state in zip(names, states, strict=True)]
    summary = "frozen 172/311 · boundary conv2d_51, inside block6b · cut 3 tensors, 0.63 MB/image"
    return [
        StagePlan("head", head, "top", "frozen 311/311 · cut 1 tensor"),
        StagePlan("thaw", thaw, "block5b", summary),
    ]


def make_gallery(
    key: str, title: str, class_names: Sequence[str], count: int, wrong: bool = False, overlay: bool = False,
    side: int = 96, total: int | None = None,
) -> Gallery:  # fmt: skip
    rng = np.random.default_rng(len(key))
    pictures = [jpeg(rng, side) for _ in range(min(count, 6))]
    images = []
    for i in range(count):
        true, other = class_names[i % len(class_names)], class_names[(i + 1) % len(class_names)]
        images.append(
            GalleryImage(
                pictures[i % 6], f"{true}/photo {i:04}.jpg", true, other if wrong else true, 0.99 - 0.01 * (i % 50),
                f"{true}: 0.004" if wrong else "", pictures[(i + 1) % 6] if overlay else None,
            )
        )  # fmt: skip
    return Gallery(key, title, "One sentence says what these pictures are.", images, total or count * 3)


def jpeg(rng: np.random.Generator, side: int = 96) -> bytes:
    grid = rng.uniform(0, 255, (6, 6, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grid).resize((side, side * 3 // 4), Image.Resampling.BICUBIC).save(file, "JPEG", quality=70)
    return file.getvalue()


def make_feature_map(key: str, class_names: Sequence[str], count: int, spread: float) -> FeatureMap:
    rng = np.random.default_rng(3)
    points = []
    for i in range(count):
        label = i % len(class_names)
        angle = 2 * np.pi * label / len(class_names)
        x, y = 4 * np.cos(angle) + rng.normal(0, spread), 4 * np.sin(angle) + rng.normal(0, spread)
        points.append(
            {"x": x, "y": y, "class": class_names[label], "correct": bool(rng.random() > 0.1), "file": f"{i:05}.jpg"}
        )
    return FeatureMap(key, f"Features {key} thawing", "The axes are the first two principal components.", points)


def _f1(right: int, predicted: int, images: int) -> Share:
    union = int(predicted + images - right)
    jaccard = share(int(right), union)
    return Share(*(None if v is None else 2 * v / (1 + v) for v in (jaccard.value, jaccard.low, jaccard.high)))


def _roc(name: str, bend: float) -> Curve:
    x = np.linspace(0, 1, 101)
    return Curve(name, x.tolist(), (x**bend).tolist(), [None, *np.linspace(1, 0, 100).tolist()], 1 / (1 + bend))


def _precision_recall(name: str, bend: float) -> Curve:
    x = np.linspace(0, 1, 101)
    return Curve(name, x.tolist(), (1 - 0.8 * x**bend).tolist(), np.linspace(1, 0, 101).tolist(), 1 - 0.8 / (bend + 1))


def _threshold(t: float) -> ThresholdRow:
    return ThresholdRow(t, int(100 * (1 - t)), 0.5 + t / 2, 1 - t**2, t, 0.8 - abs(t - 0.5), 0.9 - abs(t - 0.5))


def _calibration(gap: float, images: int) -> CalibrationFigures:
    bins = []
    for i in range(15):
        low, high = i / 15, (i + 1) / 15
        n = 0 if i < 3 else int(images * (0.02 if i < 14 else 0.74))
        middle = (low + high) / 2
        right = round(n * max(0.0, middle - gap))
        bins.append(ReliabilityBin(low, high, n, middle if n else None, share(right, n)))
    return CalibrationFigures(ece=gap, brier=0.2 + gap, nll=0.4 + gap, bins=bins)
