"""Command line of thaw.layers."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from thaw.config import cli, schema


def main(config: schema.LayersConfig) -> None:
    from thaw.layers import layers

    layers(config)


if __name__ == "__main__":
    cli.command(ROOT, "layers", schema.LayersConfig, main)
