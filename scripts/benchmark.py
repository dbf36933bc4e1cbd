"""Command line of thaw.benchmark.tool."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from thaw.config import cli, tool_schemas


def main(config: tool_schemas.BenchmarkConfig) -> None:
    from thaw.benchmark.tool import benchmark

    benchmark(config, ROOT)


if __name__ == "__main__":
    cli.command(ROOT, "benchmark", tool_schemas.BenchmarkConfig, main)
