"""Command line of thaw.tools.explore."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from thaw.cli import main as cli
from thaw.config import tool_schemas


def main(config: tool_schemas.ExploreConfig) -> None:
    from thaw.tools.explore import explore

    explore(config)


if __name__ == "__main__":
    cli.run_tool(ROOT, "explore", tool_schemas.ExploreConfig, main)
