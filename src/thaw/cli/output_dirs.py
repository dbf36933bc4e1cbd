"""Where Hydra makes folders: the command line chooses any, a config file only new ones inside `outputs`.

A run writes files of fixed names into its folder (result.json, report/, .hydra/config.yaml). A stranger's config file
that chose the folder could overwrite a user's files of these names.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path, PurePath

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from thaw.cli.argument_quoting import empty_value_error
from thaw.common.errors import UserError

OUTPUT_DIR_KEYS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
_SUBDIR = "hydra.output_subdir"


def is_set_by_user(key: str, arguments: Sequence[str]) -> bool:
    """Whether the command line sets a key."""
    return any(argument.partition("=")[0].lstrip("+~").strip() == key for argument in arguments)


def check_output_dirs(config: DictConfig, arguments: Sequence[str], made: set[Path]) -> set[Path]:
    """Return the folders that config files choose instead of conf/config.yaml and the command line.

    Args:
        config: composed, with the node `hydra`.
        arguments: the command line's, which may choose any folder.
        made: folders that files chose and that this process has made.

    Raises:
        UserError: a folder lies outside `outputs`, or holds files already.
    """
    if "outputs" not in config:  # --hydra-help composes Hydra's own part
        return set()
    _check_not_empty(config)
    _check_subdir(config)
    defaults = _defaults(config)
    keys = [
        key for key in OUTPUT_DIR_KEYS if not is_set_by_user(key, arguments) and _written(config, key) != defaults[key]
    ]
    if not keys:
        return set()
    outputs = Path(str(config.outputs)).expanduser().resolve()
    numbered = _numbered(config)
    resolved = {key: _resolved(numbered, key) for key in ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")}
    sweep = Path(resolved["hydra.sweep.dir"])
    folders = {
        "hydra.run.dir": Path(resolved["hydra.run.dir"]),
        "hydra.sweep.dir": sweep,
        "hydra.sweep.subdir": sweep / resolved["hydra.sweep.subdir"],
    }
    chosen = set()
    for key in keys:
        folder = folders[key].expanduser().resolve()
        within = outputs if key != "hydra.sweep.subdir" else sweep.expanduser().resolve()
        if within not in folder.parents:
            raise UserError(
                f"{key}={_written(config, key)} is refused from a file: {folder} does not lie in {within}. "
                f"Type it where you want it there: {key}=FOLDER"
            )
        if folder not in made and folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                f"{key}={_written(config, key)} is refused from a file: {folder} holds files already, and a run would "
                f"write over those of its own names. Type it where you want that: {key}=FOLDER"
            )
        chosen.add(folder)
    return chosen


def _check_not_empty(config: DictConfig) -> None:
    """Refuse an empty folder, which would be the working directory, and empty `outputs`, the root of the disk."""
    for key in ("outputs", *OUTPUT_DIR_KEYS):
        try:
            value = OmegaConf.select(config, key)
        except OmegaConfBaseException:  # a job's number, which Hydra sets later
            continue
        if not str(value).strip():
            raise empty_value_error(key)


def _check_subdir(config: DictConfig) -> None:
    name = config.hydra.output_subdir
    if name is not None and (not name.strip(" .") or PurePath(name).name != name):
        raise UserError(f"{_SUBDIR}={name} is refused: it is the name of one folder in the run's own, or null")
    if name not in (None, ".hydra"):
        from thaw.tracking import folder_owner  # MLflow takes seconds

        if name in folder_owner.RUN_FILES:
            raise UserError(f"{_SUBDIR}={name} is refused: a run keeps its own {name} there. Choose another name")


def _defaults(config: DictConfig) -> dict[str, object]:
    """Return what conf/config.yaml says."""
    main = next(source.path for source in config.hydra.runtime.config_sources if source.provider == "main")
    content = OmegaConf.load(Path(main.removeprefix("file://")) / "config.yaml")
    assert isinstance(content, DictConfig)
    return {key: _written(content, key) for key in OUTPUT_DIR_KEYS}


def _written(config: DictConfig, key: str) -> object:
    section, _, name = key.rpartition(".")
    return OmegaConf.select(config, section)._get_node(name)._value()


def _numbered(config: DictConfig) -> DictConfig:
    """Return the config with a job's number, which Hydra sets when the job starts."""
    numbered = deepcopy(config)
    with open_dict(numbered):
        numbered.hydra.job.num, numbered.hydra.job.id = 0, "0"
    return numbered


def _resolved(config: DictConfig, key: str) -> str:
    try:
        return str(OmegaConf.select(config, key))
    except OmegaConfBaseException as error:
        raise UserError(
            f"{key}={_written(config, key)} is refused from a file: {str(error).splitlines()[0]}. Type it: {key}=FOLDER"
        ) from error
