"""Forward pass and training step in PyTorch, bfloat16 and channels_last, with torchvision's networks.

python torch_speed.py --work forward --network resnet50 --images 256

Runs alone, with any Python that has torch and torchvision. Weights are random.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import nn

BATCH_SIZE = 32
CLASSES = 10
SIZES = {"inceptionv3": 299}  # side of the input in pixels; 224 for the others

# Children of the whole network that stay frozen in a training step, and where thaw's boundary lies.
FROZEN = {
    "efficientnet_lite0": (6, "block3b, as thaw"),
    "mobilenetv2": (12, "block_10, two layers before thaw"),
    "inceptionv3": (13, "Mixed_6c, which is mixed5, seven layers before thaw"),
    "resnet50": (17, "layer3, which is conv4_block6, as thaw"),
    "vgg16": (17, "the third pooling, as thaw"),
}


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", required=True, choices=("forward", "step", "whole"),
        help="forward: from pixels to pooled features; step: training of the thawed part, from activations in memory; "
        "whole: the same from pixels, with the frozen part forward",
    )  # fmt: skip
    parser.add_argument("--network", required=True, choices=tuple(FROZEN))
    parser.add_argument("--size", type=int, help="side of the input in pixels; default: the network's own")
    parser.add_argument("--images", type=int, default=128, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=3, help="the first one is left out")
    parser.add_argument("--json", default="torch.json", help="file for what was measured")
    return parser.parse_args(argv)


def main() -> None:
    """Measure one kind of work and write the speed."""
    args = parse_arguments()
    torch.manual_seed(0)
    size = args.size or SIZES.get(args.network, 224)
    network = nn.Sequential(*children(args.network))
    images = torch.randint(0, 256, (args.images, size, size, 3), dtype=torch.uint8)
    report: dict[str, object] = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    if args.work == "forward":
        speeds = forward(network, images, args.epochs)
    else:
        frozen, where = FROZEN[args.network]
        report["frozen_through"] = where
        speeds = training(network[:frozen], network[frozen:], images, args.epochs, from_pixels=args.work == "whole")
    report |= {"epoch_images_per_second": speeds, "images_per_second": float(statistics.median(speeds[1:]))}
    Path(args.json).write_text(json.dumps(report))


def children(name: str) -> list[nn.Module]:
    """Return the network's parts in order, up to the features before pooling."""
    if name == "inceptionv3":
        network = torchvision.models.inception_v3(weights=None, init_weights=False, aux_logits=False)
        return [child for key, child in network.named_children() if key not in ("avgpool", "dropout", "fc")]
    if name == "resnet50":
        *parts, _pool, _top = torchvision.models.resnet50(weights=None).children()
        return [block for part in parts for block in (part if isinstance(part, nn.Sequential) else [part])]
    if name == "efficientnet_lite0":
        return lite0()
    builder = {"vgg16": torchvision.models.vgg16, "mobilenetv2": torchvision.models.mobilenet_v2}[name]
    return list(builder(weights=None).features)


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a convolution with BatchNorm."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs, eps=1e-3)]


class Block(nn.Module):
    """An inverted residual block of EfficientNet-Lite: ReLU6, no squeeze-and-excitation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        expand = [*convolution(inputs, middle, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []
        depthwise = [*convolution(middle, middle, kernel, stride, middle), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*expand, *depthwise, *convolution(middle, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        y: torch.Tensor = self.layers(x)
        return x + y if self.residual else y


def lite0() -> list[nn.Module]:
    """Return EfficientNet-Lite0, which torchvision does not have: the stem, 16 blocks, the top."""
    stages = (  # kernel, repeats, channels, expansion, stride
        (3, 1, 16, 1, 1), (3, 2, 24, 6, 2), (5, 2, 40, 6, 2), (3, 3, 80, 6, 2), (5, 3, 112, 6, 1), (5, 4, 192, 6, 2),
        (3, 1, 320, 6, 1),
    )  # fmt: skip
    parts: list[nn.Module] = [nn.Sequential(*convolution(3, 32, 3, 2), nn.ReLU6(inplace=True))]
    inputs = 32
    for kernel, repeats, channels, expansion, stride in stages:
        for repeat in range(repeats):
            parts.append(Block(inputs, channels, kernel, 1 if repeat else stride, expansion))
            inputs = channels
    return [*parts, nn.Sequential(*convolution(inputs, 1280, 1), nn.ReLU6(inplace=True))]


def forward(network: nn.Module, images: torch.Tensor, epochs: int) -> list[float]:
    """Return images/s of each epoch, from pixels to pooled features; the network's weights are bfloat16."""
    network = network.to(torch.bfloat16, memory_format=torch.channels_last).train(False)

    def run(batch: torch.Tensor) -> None:
        network(preprocessed(batch).to(torch.bfloat16)).mean((2, 3))

    with torch.inference_mode():
        return measure(run, images, epochs)


def training(
    frozen: nn.Module, thawed: nn.Module, images: torch.Tensor, epochs: int, *, from_pixels: bool
) -> list[float]:
    """Return images/s of each epoch, with autocast; statistics of BatchNorm are fixed, gamma and beta train."""
    frozen = frozen.to(memory_format=torch.channels_last).train(False).requires_grad_(False)
    thawed = thawed.to(memory_format=torch.channels_last).train(False)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        features = frozen(preprocessed(images[:BATCH_SIZE]))
        channels = thawed(features).shape[1]
    activations = torch.randn(features.shape).contiguous(memory_format=torch.channels_last)
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1024), nn.ReLU(), nn.Linear(1024, CLASSES)
    )
    optimizer = torch.optim.SGD([*thawed.parameters(), *head.parameters()], lr=1e-4, momentum=0.9)
    labels = torch.randint(0, CLASSES, (BATCH_SIZE,))

    def run(batch: torch.Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                inputs = frozen(preprocessed(batch)) if from_pixels else activations[: len(batch)]
            outputs = head(thawed(inputs))
        loss = nn.functional.cross_entropy(outputs.float(), labels[: len(batch)])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return measure(run, images, epochs)


def preprocessed(images: torch.Tensor) -> torch.Tensor:
    """Return images uint8 (N, H, W, 3) as float32 (N, 3, H, W), channels last in memory."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def measure(run: Callable[[torch.Tensor], None], images: torch.Tensor, epochs: int) -> list[float]:
    """Return images/s of each epoch."""
    speeds = []
    for _ in range(epochs):
        started = time.perf_counter()
        for batch in images.split(BATCH_SIZE):
            run(batch)
        speeds.append(len(images) / (time.perf_counter() - started))
    return speeds


if __name__ == "__main__":
    main()
