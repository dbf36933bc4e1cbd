"""Trains an image classifier as conf/ and the command line say: `python train.py backbone=vgg16 recipe=bottleneck`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from thaw.cli import main

if __name__ == "__main__":
    main.train_command()
