"""Command line of thaw.faults.tool."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from thaw.config import cli, tool_schemas


def main(config: tool_schemas.FaultsConfig) -> None:
    from thaw.faults.tool import faults

    faults(config, ROOT)


if __name__ == "__main__":
    cli.command(ROOT, "faults", tool_schemas.FaultsConfig, main)
