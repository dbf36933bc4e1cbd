"""Command line of thaw.tools.layers."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from thaw.cli import main as cli
from thaw.config import tool_schemas


def main(config: tool_schemas.LayersConfig) -> None:
    from thaw.tools.layers import layers

    layers(config)


if __name__ == "__main__":
    cli.run_tool(ROOT, "layers", tool_schemas.LayersConfig, main)
