"""Command line of thaw.tools.reproduce."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from thaw.cli import main as cli
from thaw.config import tool_schemas


def main(config: tool_schemas.ReproduceConfig) -> None:
    from thaw.tools.reproduce import reproduce

    sys.exit(reproduce(config, ROOT))


if __name__ == "__main__":
    cli.run_tool(ROOT, "reproduce", tool_schemas.ReproduceConfig, main)
