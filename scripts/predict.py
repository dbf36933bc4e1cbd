"""Command line of thaw.tools.predict."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from thaw.cli import main as cli
from thaw.config import tool_schemas


def main(config: tool_schemas.PredictConfig) -> None:
    from thaw.tools.predict import predict

    predict(config)


if __name__ == "__main__":
    cli.run_tool(ROOT, "predict", tool_schemas.PredictConfig, main)
