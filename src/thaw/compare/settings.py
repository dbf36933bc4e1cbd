"""Settings: runs of one config, which differ in seed or fold only, are one row of a comparison."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from thaw import tracking
from thaw.common.console import printable
from thaw.compare.compared_run import ComparedRun
from thaw.config.stored_config import flatten, is_result_neutral

REPEATS = {"seed": "seed", "split.fold": "fold"}  # keys in which the runs of a setting may differ, and their nouns
LABEL_KEYS, LABEL_LENGTH = 3, 24  # of a label: keys at most, and characters of a value


@dataclass(frozen=True, eq=False)
class Setting:
    """Runs of one config. label: what tells it from the others, short and different from all other labels.

    repetitions: runs that are left out, as they trained the very weights of one of `runs` and say nothing new.
    """

    label: str
    runs: tuple[ComparedRun, ...]
    repetitions: int = 0

    @property
    def tested(self) -> tuple[ComparedRun, ...]:
        """The runs that kept their predictions."""
        return tuple(run for run in self.runs if run.predictions)

    @property
    def repeats(self) -> str:
        """What its runs are, in words: `5 seeds`, `3 folds`; empty for a single run."""
        if len(self.runs) == 1:
            return ""
        differing = [noun for key, noun in REPEATS.items() if len({_flat(run)[key] for run in self.runs}) > 1]
        return f"{len(self.runs)} {differing[0]}s" if len(differing) == 1 else f"{len(self.runs)} runs"


@dataclass(frozen=True)
class DifferingKey:
    """A key of the config that differs, and its value in each setting as YAML has it."""

    key: str
    values: tuple[str, ...]


def group_runs(runs: Sequence[ComparedRun], *, aggregate: bool = True) -> list[Setting]:
    """Return the settings, in the order of their first runs; without `aggregate` each run is one.

    Of runs of one setting that trained the same weights, bit for bit, the first is taken.
    """
    same_data = len({run.data_sha256 for run in runs}) == 1
    groups: dict[object, list[ComparedRun]] = {}
    for run in runs:
        values = {key: value for key, value in _flat(run).items() if key not in REPEATS}
        if same_data:  # wherever it lies
            values.pop("dataset.path")
        groups.setdefault(repr(sorted(values.items())) if aggregate else run.stored.id, []).append(run)
    members = [_distinct_runs(group) for group in groups.values()]
    counts = [len(group) for group in groups.values()]
    return [
        Setting(label, group, count - len(group))
        for label, group, count in zip(_labels(members), members, counts, strict=True)
    ]


def _distinct_runs(group: Sequence[ComparedRun]) -> tuple[ComparedRun, ...]:
    weights = [run.stored.tags.get(tracking.WEIGHTS_TAG, run.stored.id) for run in group]
    return tuple(run for i, run in enumerate(group) if weights[i] not in weights[:i])


def differing_keys(settings: Sequence[Setting]) -> list[DifferingKey]:
    """Return the keys that differ between settings and change results, in the order of the schema."""
    return _differing([setting.runs for setting in settings])


def _differing(groups: Sequence[tuple[ComparedRun, ...]]) -> list[DifferingKey]:
    flat = [[_flat(run) for run in group] for group in groups]
    keys = dict.fromkeys(key for group in flat for values in group for key in values)
    same_data = len({run.data_sha256 for group in groups for run in group}) == 1
    differing = []
    for key in keys:
        values = tuple(_joined([_yaml(values.get(key)) for values in group]) for group in flat)
        if len(set(values)) > 1 and not (key == "dataset.path" and same_data):
            differing.append(DifferingKey(key, values))
    return differing


def _labels(groups: Sequence[tuple[ComparedRun, ...]]) -> list[str]:
    """Return a label a group: values of as few keys as tell all groups apart, else the ids of their first runs too."""
    parts: list[list[str]] = [[] for _ in groups]
    for entry in _telling(_differing(groups)):
        for part, value in zip(parts, entry.values, strict=True):
            part.append(_label_part(entry.key, value))
    labels = [" ".join(part) for part in parts]
    return [
        label
        if label and labels.count(label) == 1
        else f"{label or printable(group[0].stored.name)} {group[0].short_id}"
        for label, group in zip(labels, groups, strict=True)
    ]


def _telling(differing: Sequence[DifferingKey]) -> list[DifferingKey]:
    """Return keys, LABEL_KEYS at most, that tell as many groups apart as can be, in the order of the schema.

    Seeds and folds are among them only where no other key tells groups apart: they are what a setting is repeated with.
    """
    chosen: list[DifferingKey] = []
    for repeats in (False, True):
        candidates = [entry for entry in differing if (entry.key in REPEATS) is repeats]
        while candidates and len(chosen) < LABEL_KEYS:
            best = max(candidates, key=lambda entry: _distinct([*chosen, entry]))  # the first of the best
            if _distinct([*chosen, best]) <= _distinct(chosen):
                break
            chosen.append(best)
    return [entry for entry in differing if entry in chosen]


def _distinct(entries: Sequence[DifferingKey]) -> int:
    return len(set(zip(*(entry.values for entry in entries), strict=True))) if entries else 1


def _label_part(key: str, value: str) -> str:
    """Return `resnet50` for backbone.name, `learning_rate=0.01` for optimizer.learning_rate."""
    value = value if len(value) <= LABEL_LENGTH else f"…{value[1 - LABEL_LENGTH :]}"
    section, _, name = key.rpartition(".")
    return value if key == "recipe" or (name == "name" and section) else f"{name}={value}"


def _flat(run: ComparedRun) -> dict[str, object]:
    return {key: value for key, value in flatten(dataclasses.asdict(run.config)) if not is_result_neutral(key)}


def _yaml(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return printable(str(value))


def _joined(values: Sequence[str]) -> str:
    return ", ".join(sorted(set(values), key=lambda value: (len(value), value)))  # numbers by their size
