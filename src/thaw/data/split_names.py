"""Which names of folders, and which words of a table, mean a split: train, Training_set, val2017, seg_test, ..."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

from thaw.data.catalog import TEST, TRAIN, VAL

UNLABELLED = 3  # pictures to predict, of which nobody says the class; only folders are called so
_EVAL = -2  # "eval" validates beside a test set, and tests beside a validation set

_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "dev", "devel"), VAL),
    **dict.fromkeys(("eval", "evaluation"), _EVAL),
    **dict.fromkeys(("test", "tests", "testing", "tst", "holdout", "heldout"), TEST),
    **dict.fromkeys(("pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled"), UNLABELLED),
}
# What stands around the word, as archives of Kaggle, Roboflow, COCO and ImageNet have it; digits do too (val2017).
_DECORATIONS = (
    "set", "sets", "data", "dataset", "datasets", "split", "part", "folder", "dir", "image", "images", "img", "imgs",
    "picture", "pictures", "pics", "photo", "photos", "jpg", "jpgs", "jpeg", "png", "frames", "raw", "resized",
    "cropped", "crops", "small", "full", "public", "private", "labeled", "labelled", "x", "px",
)  # fmt: skip
# Ordinary words, which a class may be called too; "test" and the others are not names of things in pictures.
_ALSO_CLASSES = ("train", "training", "valid")
SPLIT_NAMES = ("train", "val", "test")  # what an error lists; `recognised` knows more


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_DECORATED = re.compile(f"(?:{_any(_DECORATIONS)})*({_any(_WORDS)})(?:{_any(_DECORATIONS)})*")
_DECORATION = re.compile(f"(?:{_any(_DECORATIONS)})+")


def match_split_names(names: Iterable[str]) -> dict[str, int]:
    """Return those of the names that mean a split, with TRAIN, VAL, TEST or UNLABELLED.

    A split's word may be decorated: TrainImages, training_set, test1, val2017. Any other word beside it counts where
    another name has the same for another split: seg_train and seg_test, but not freight_train and bus.
    """
    names = list(names)
    found = {name: number for name in names if (number := _decorated(name)) is not None}
    found |= _siblings(names)
    if _EVAL in found.values():
        number = TEST if VAL in found.values() and TEST not in found.values() else VAL
        found = {name: number if own == _EVAL else own for name, own in found.items()}
    return found


def has_several_splits(names: Iterable[str]) -> bool:
    """Say whether two of the names or more mean different splits."""
    return len(set(match_split_names(names).values())) > 1


def all_are_splits(names: Iterable[str]) -> bool:
    """Say whether all of the names mean splits, and different ones."""
    names = list(names)
    return has_several_splits(names) and len(match_split_names(names)) == len(names)


def may_be_class_name(name: str) -> bool:
    """Say whether a split's name is an ordinary word, without any decoration."""
    return name.strip().casefold() in _ALSO_CLASSES


def is_decoration(name: str) -> bool:
    """Say whether it is a word that stands around a split's name: images, data, ..."""
    return bool(_DECORATION.fullmatch("".join(_tokens(name))))


def _decorated(name: str) -> int | None:
    found = _DECORATED.fullmatch("".join(_tokens(name)))
    return _WORDS[found[1]] if found else None


def _siblings(names: Iterable[str]) -> dict[str, int]:
    """Names with a split's word that have the rest in common with one of another split: GTSRB_Training_Images, cattest.

    And all, when each of them has a split's word, one of them training's: train_HR and valid_LR.
    """
    alike: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    every: dict[str, int] = {}
    for name in names:
        tokens = _tokens(name)
        for word, rest in _with_word(tokens):
            alike[rest][name] = _WORDS[word]
        words = {_WORDS[token] for token in tokens if token in _WORDS}
        if len(words) == 1:
            every[name] = words.pop()
    splits = [own for own in alike.values() if len(set(own.values()) - {UNLABELLED}) > 1]
    if len(every) == len(list(names)) and TRAIN in every.values() and len(set(every.values()) - {UNLABELLED}) > 1:
        splits.append(every)
    return {name: number for own in splits for name, number in own.items()}


def _with_word(tokens: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each split's word in a name, with the rest: as a word of its own, or glued to the beginning or the end."""
    for i, token in enumerate(tokens):
        if token in _WORDS and len(tokens) > 1:
            yield token, (*tokens[:i], "", *tokens[i + 1 :])
    glued = "".join(tokens)
    for word in _WORDS:
        if glued.endswith(word) and glued != word:
            yield word, (glued[: -len(word)], "")
        if glued.startswith(word) and glued != word:
            yield word, ("", glued[len(word) :])


def _tokens(name: str) -> list[str]:
    """The words of a name, without digits and signs: `TrainImages_2017` is train and images."""
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", unicodedata.normalize("NFKC", name))
    return [word.casefold() for word in re.findall(r"[^\W\d_]+", parted)]
