"""Names of folders and words in a table that mean a split: train, Training_set, val2017, seg_test, ..."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

from thaw.data.catalog import TEST, TRAIN, VAL

UNLABELLED = 3  # images to predict, whose class is not known; only folders have such names
_EVAL = -2  # "eval" validates beside a test set, and tests beside a validation set

_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "dev", "devel"), VAL),
    **dict.fromkeys(("eval", "evaluation"), _EVAL),
    **dict.fromkeys(("test", "tests", "testing", "tst", "holdout", "heldout"), TEST),
    **dict.fromkeys(("pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled"), UNLABELLED),
}
# Words around a split's word in archives of Kaggle, Roboflow, COCO and ImageNet; digits may stand there too (val2017).
_DECORATIONS = (
    "set", "sets", "data", "dataset", "datasets", "split", "part", "folder", "dir", "image", "images", "img", "imgs",
    "picture", "pictures", "pics", "photo", "photos", "jpg", "jpgs", "jpeg", "png", "frames", "raw", "resized",
    "cropped", "crops", "small", "full", "public", "private", "labeled", "labelled", "x", "px",
)  # fmt: skip
# Ordinary words that may name a class too; "test" and the others name nothing that images show.
_ALSO_CLASSES = ("train", "training", "valid")


def _alternatives(words: Iterable[str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_DECORATION = re.compile(f"(?:{_alternatives(_DECORATIONS)})+")
_DECORATED = re.compile(f"(?:{_DECORATION.pattern})?({_alternatives(_WORDS)})(?:{_DECORATION.pattern})?")


def match_split_names(names: Iterable[str]) -> dict[str, int]:
    """Return the names that mean a split, each with TRAIN, VAL, TEST or UNLABELLED.

    A split's word may be decorated: TrainImages, training_set, test1, val2017. Any other word beside it is accepted
    only where another name has the same word for another split: seg_train and seg_test, but not freight_train and bus.
    """
    names = list(names)
    splits = {name: number for name in names if (number := _split_of_decorated(name)) is not None}
    splits |= _splits_of_siblings(names)
    if _EVAL in splits.values():
        meant = TEST if VAL in splits.values() and TEST not in splits.values() else VAL
        splits = {name: meant if number == _EVAL else number for name, number in splits.items()}
    return splits


def has_several_splits(names: Iterable[str]) -> bool:
    """Return whether at least two of the names mean different splits."""
    return len(set(match_split_names(names).values())) > 1


def all_are_splits(names: Iterable[str]) -> bool:
    """Return whether all names mean splits, and not all the same one."""
    names = list(names)
    return has_several_splits(names) and len(match_split_names(names)) == len(names)


def may_be_class_name(name: str) -> bool:
    """Return whether a split's name is an ordinary word without decoration, which may name a class too."""
    return name.strip().casefold() in _ALSO_CLASSES


def is_decoration(name: str) -> bool:
    """Return whether a name holds nothing but words that decorate a split's name: images, data, ..."""
    return bool(_DECORATION.fullmatch("".join(_tokens(name))))


def _split_of_decorated(name: str) -> int | None:
    match = _DECORATED.fullmatch("".join(_tokens(name)))
    return _WORDS[match[1]] if match else None


def _splits_of_siblings(names: list[str]) -> dict[str, int]:
    """Return names that differ from a name of another split in the split's word only: GTSRB_Training_Images, cattest.

    Return all names if each holds the word of one split, and one of them that of training: train_HR and valid_LR.
    """
    by_rest: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    single_word: dict[str, int] = {}
    for name in names:
        tokens = _tokens(name)
        for word, rest in _words_with_rest(tokens):
            by_rest[rest][name] = _WORDS[word]
        numbers = {_WORDS[token] for token in tokens if token in _WORDS}
        if len(numbers) == 1:
            single_word[name] = numbers.pop()
    families = [*by_rest.values()]
    if len(single_word) == len(names) and TRAIN in single_word.values():
        families.append(single_word)
    several = [family for family in families if len(set(family.values()) - {UNLABELLED}) > 1]
    return {name: number for family in several for name, number in family.items()}


def _words_with_rest(tokens: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each split's word in a name and the rest; the word is one of the tokens, or begins or ends them all."""
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
    """Return the words of a name without digits and signs: `TrainImages_2017` is train and images."""
    divided = re.sub(r"([a-z])([A-Z])", r"\1 \2", unicodedata.normalize("NFKC", name))
    return [word.casefold() for word in re.findall(r"[^\W\d_]+", divided)]
