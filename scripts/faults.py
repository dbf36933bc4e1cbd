"""`python scripts/faults.py key=value ...`: a tool of the checkout, which an installed thaw does not have."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from thaw.cli import main as cli
from thaw.config import tool_schemas


def main(config: tool_schemas.FaultsConfig) -> None:
    """Run the faults of this checkout."""
    from thaw_lab.faults.run_faults import faults

    faults(config, ROOT)


if __name__ == "__main__":
    cli.run_tool("faults", tool_schemas.FaultsConfig, main)
