"""Command line of thaw.faults.tool."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from thaw.config import cli, schema


def main(config: schema.FaultsConfig) -> None:
    from thaw.faults.tool import faults

    faults(config, ROOT)


if __name__ == "__main__":
    cli.command(ROOT, "faults", schema.FaultsConfig, main)
