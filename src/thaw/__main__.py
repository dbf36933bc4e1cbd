"""The command `thaw`: training and every tool as a subcommand; `python -m thaw` is the same."""

import importlib
import sys
from typing import Any

import thaw
from thaw.cli import main as cli
from thaw.cli import streams
from thaw.common.errors import did_you_mean, joined
from thaw.config import install_paths, tool_schemas
from thaw.config.command_lines import script_command

# A module of thaw.tools each, with a function of the same name.
TOOLS = {
    "predict": tool_schemas.PredictConfig,
    "evaluate": tool_schemas.EvaluateConfig,
    "export": tool_schemas.ExportConfig,
    "explore": tool_schemas.ExploreConfig,
    "advise": tool_schemas.AdviseConfig,
    "extract": tool_schemas.ExtractConfig,
    "find_rate": tool_schemas.FindRateConfig,
    "find_batch": tool_schemas.FindBatchConfig,
    "layers": tool_schemas.LayersConfig,
    "serve": tool_schemas.ServeConfig,
    "compare": tool_schemas.CompareConfig,
    "reproduce": tool_schemas.ReproduceConfig,
    "runs": tool_schemas.RunsConfig,
    "cache": tool_schemas.CacheToolConfig,
}


@streams.exit_quietly_on_broken_pipe
def main() -> None:
    """Run `thaw COMMAND key=value ...`."""
    name, *arguments = sys.argv[1:] or ["--help"]
    commands = ("train", *TOOLS)
    if name in ("-h", "--help"):
        print(_usage())
    elif name == "--version":
        print(f"thaw {thaw.__version__}")
    elif name in commands:
        sys.argv[1:] = arguments
        run_command(name)
    else:
        sys.exit(f"error: {name} is not a command.{did_you_mean(name, commands)} Choose one of: {joined(commands)}")


def run_command(name: str) -> None:
    """Run `train` or a tool on the arguments that `sys.argv` holds."""
    if name == "train":
        cli.train_command()
    else:
        cli.run_tool(name, TOOLS[name], lambda config: _run_task(name, config))


def _run_task(name: str, config: Any) -> None:
    tool = getattr(importlib.import_module(f"thaw.tools.{name}"), name)  # late: --help needs no TensorFlow
    if name == "reproduce":
        sys.exit(tool(config, install_paths.checkout_root()))
    tool(config)


def _usage() -> str:
    command = script_command("COMMAND")
    summaries = {"train": "an image classifier: a pretrained network, frozen and thawed stage by stage"}
    summaries |= {name: (schema.__doc__ or "").partition(": ")[2] for name, schema in TOOLS.items()}
    lines = [f"  {name:<10} {summary.splitlines()[0]}" for name, summary in summaries.items()]
    return "\n".join([f"{command} key=value ...", "", *lines, "", f"Keys and choices of each: {command} --help"])


if __name__ == "__main__":
    main()
