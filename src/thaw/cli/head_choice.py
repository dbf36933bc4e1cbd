"""What head=auto stands for: a head that is solved for, unless keys are set that only a trained one has."""

from omegaconf import DictConfig, OmegaConf

from thaw.config.install_paths import conf_dir
from thaw.config.schema import HeadConfig, OptimizerConfig
from thaw.training.recipes import HEAD_EPOCHS

AUTO = "auto"


def choose_head(cfg: DictConfig) -> None:
    """Write the head's name in place of `auto`, and the epochs of stage head where none are given.

    A command line or an experiment that sets epochs, optimizer or hidden units of the head, or has a stage of its own
    in which all is frozen, was written for a head that is trained, and goes on to train one.

    Args:
        cfg: the composed config of a command that has a head; it is changed.
    """
    if "finetune" in cfg and cfg.head.name == AUTO:
        cfg.head.name = "gap_dense" if _asks_for_training(cfg) else "logistic"
    if "finetune" in cfg and cfg.finetune.head_epochs is None:
        cfg.finetune.head_epochs = HEAD_EPOCHS


def _asks_for_training(cfg: DictConfig) -> bool:
    usual = OmegaConf.merge(
        OmegaConf.structured(OptimizerConfig), OmegaConf.load(conf_dir() / "optimizer" / "rmsprop.yaml")
    )
    return (
        cfg.finetune.head_epochs is not None
        or any(str(stage.get("freeze", "all")) == "all" for stage in cfg.finetune.stages)
        or cfg.head.hidden != HeadConfig().hidden
        or OmegaConf.to_container(cfg.finetune.head_optimizer, resolve=True) != OmegaConf.to_container(usual)
    )
