"""Source `image_folder`: one folder for each class, either directly or inside train/, val/ and test/."""

import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thaw.common.console import printable
from thaw.common.errors import UserError, joined
from thaw.config.schema import DatasetConfig
from thaw.data import class_name_spelling, split_names
from thaw.data.catalog import SPLIT_NAMES, TEST, TRAIN, UNASSIGNED, VAL, Catalog
from thaw.data.decode import IMAGE_SUFFIXES, SUPPORTED_SUFFIXES

LAYOUT = "PATH/CLASS/image.jpg, or PATH/train/CLASS/image.jpg with val/ and test/ beside train/ or not"
_SEVERAL = "splits by their names", "them", "they are classes"
SYSTEM_FOLDERS = {"__MACOSX", "@eaDir"}  # of archives and network storage, with tiny copies of the images
LINK_CYCLES, LINKS_READ_ELSEWHERE = "links in a circle", "links to folders that are read anyway"
SYSTEM_FILES = {".ds_store": ".DS_Store", "thumbs.db": "Thumbs.db", "desktop.ini": "desktop.ini"}


@dataclass(frozen=True)
class _ClassFolder:
    """A class folder and the files in it at any depth; all names are relative to the dataset's folder."""

    name: str
    assigned_split: int
    images: tuple[str, ...]
    others: tuple[str, ...]  # files that are not images
    ignored: Counter[str]  # number of ignored entries by kind

    @property
    def label(self) -> str:
        """The class's name without outer spaces, as in a table."""
        return self.name.rpartition("/")[2].strip()


def load_catalog(dataset: DatasetConfig, min_classes: int = 2) -> Catalog:
    """List the images under `dataset.path`, sorted by name, whatever their order on the disk.

    Images in train/, val/ and test/, under the names that `split_names` knows, are assigned to those splits; val/ and
    test/ may be missing. Folders inside a class folder belong to that class; a folder that is reached twice through
    links is read once. Hidden files, system folders and files that are not images are ignored and counted; images in
    formats that are not read (HEIC, ...) are listed, so that the scan names them.

    Raises:
        UserError: The folders are not laid out as `LAYOUT` says, or a folder may be a split as well as a class.
    """
    root, remarks = _without_wrapper(_root(dataset.path))
    tops = _subfolders(root)
    splits, split_remarks = _split_folders(root, tops)
    if splits:
        folders = [
            _read(root, f"{split}/{name}", number)
            for split, number in splits.items()
            for name in _classes(root / split)
        ]
    else:
        _refuse_splits_in_classes(root, tops)
        folders = [_read(root, name, UNASSIGNED) for name in tops]
    spelled = [(folder.name.rpartition("/")[2], folder.name) for folder in folders]
    remedy = "Give the folders of a class one name, or put them together"
    class_name_spelling.refuse_spelling_variants(spelled, f"dataset.path={root}", remedy)
    classes = _all_classes(root, splits) if splits else sorted({folder.label for folder in folders})
    if len(classes) < min_classes:
        raise UserError(_too_few_classes(root, splits, classes, min_classes))
    _refuse_empty(folders)
    ignored = sum((_ignored_entries(folder) for folder in [root, *(root / split for split in splits)]), Counter())
    return _catalog(root, classes, folders, ignored, (*remarks, *split_remarks))


def _root(path: str | None) -> Path:
    if path is None:
        raise UserError(f"dataset=image_folder needs dataset.path=PATH, a folder laid out as {LAYOUT}")
    root = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - keeps links: the user's own name for it
    if not root.exists():
        raise UserError(f"dataset.path={path} does not exist (looked for {root})")
    if not root.is_dir():
        raise UserError(f"dataset.path={path} is a file; image_folder needs a folder: unpack it first")
    return root


def _without_wrapper(root: Path) -> tuple[Path, list[str]]:
    """Return the folder that holds the splits and a remark on it: archives often unpack into one folder around them."""
    tops = _subfolders(root)
    if len(tops) != 1 or _loose_images(root):
        return root, []
    inner = _subfolders(root / tops[0])
    holds_splits = split_names.all_are_splits if split_names.match_split_names(tops) else split_names.has_several_splits
    if not holds_splits(inner):  # train/ may hold classes called train and valid
        return root, []
    return root / tops[0], [f"the only folder in dataset.path holds the splits and is taken: {root / tops[0]}"]


def _split_folders(root: Path, tops: list[str]) -> tuple[dict[str, int], list[str]]:
    """Return the folders that hold each split's class folders, by their path below `root`, and remarks on them.

    There are none if the folders are classes. A split is never taken for a class, unless its name is an ordinary word
    (train, valid) and its images lie directly in it, beside other classes.
    """
    numbers = split_names.match_split_names(tops)
    if not numbers:
        return {}, []
    inner = {name: _inner_folder(root, name, numbers[name]) for name in numbers}
    holding = [name for name in numbers if _subfolders(root / inner[name])]
    if not holding:
        return {}, _as_classes(root, list(numbers), [name for name in tops if name not in numbers])
    if TRAIN not in {numbers[name] for name in holding}:
        without_classes = joined(f"{name}/" for name in numbers if numbers[name] == TRAIN)
        why = f"no class folders in {without_classes}" if without_classes else "no train/"
        raise UserError(f"dataset.path={root} holds {joined(holding)} but {why}: the layout is {LAYOUT}")
    strangers = [
        name for name in tops if name not in holding and (name not in numbers or not _loose_images(root / inner[name]))
    ]
    strangers += [name for name in holding if numbers[name] == split_names.UNLABELLED]
    if strangers:
        raise UserError(
            f"dataset.path={root} holds {joined(holding)} and also {joined(strangers)}: "
            "move the others out, it is not clear what they are"
        )
    if len({numbers[name] for name in holding}) < len(holding):
        raise UserError(f"dataset.path={root} holds {joined(holding)}: two of them mean the same split; keep one")
    splits = {inner[name]: numbers[name] for name in sorted(holding, key=lambda name: numbers[name])}
    return splits, _split_remarks(root, splits, [inner[name] for name in numbers if name not in holding])


def _split_remarks(root: Path, splits: dict[str, int], unlabelled: list[str]) -> list[str]:
    """Return which folder is which split, if the names do not say so plainly, and which images have no class."""
    unusual = [f"{part}/ for {SPLIT_NAMES[number]}" for part, number in splits.items() if part != SPLIT_NAMES[number]]
    remarks = [f"taken by their names: {joined(unusual)}"] if unusual else []
    for part in unlabelled:
        n = len(_loose_images(root / part))
        remarks.append(f"{part}/ is not used: its {n:,} images lie in no class folders, so nobody says what they show")
    return remarks


def _as_classes(root: Path, split_like: list[str], others: list[str]) -> list[str]:
    """Return a remark on a class whose name means a split; raise UserError where it may be a split."""
    folders = joined(f"{name}/" for name in split_like)
    if not others:
        raise UserError(
            f"dataset.path={root} holds {folders} for a split, with no class folders in "
            f"{'it' if len(split_like) == 1 else 'them'}: nothing says which class a picture is of. Sort the pictures "
            f"into class folders, as {LAYOUT}, or write their labels into a table: dataset=csv"
        )
    if len(split_like) == 1 and split_names.may_be_class_name(split_like[0]):
        return [f"{folders} is taken for a class, as its images lie beside those of other classes"]
    what, it, they = ("a split by its name", "it", "it is a class") if len(split_like) == 1 else _SEVERAL
    beside = joined(f"{name}/" for name in others[:5]) + (", ..." if len(others) > 5 else "")
    raise UserError(
        f"dataset.path={root} holds {folders}, {what}, beside {beside}, which are "
        f"classes. Move {it} out. Or, if {they}, put all class folders into {root / 'train'}"
    )


def _inner_folder(root: Path, name: str, number: int) -> str:
    """Return where a split's class folders lie: seg_train/seg_train or train/images, as archives unpack."""
    for _ in range(2):
        inner = _subfolders(root / name)
        if len(inner) != 1 or _loose_images(root / name):
            break
        same = inner[0].casefold() == name.rpartition("/")[2].casefold()
        same |= split_names.match_split_names(inner) == {inner[0]: number}
        if not (same or split_names.is_decoration(inner[0])):
            break
        name = f"{name}/{inner[0]}"
    return name


def _classes(split: Path) -> list[str]:
    """Return the class folders of a split; raise UserError where they are splits themselves."""
    names = _subfolders(split)
    if split_names.all_are_splits(names):
        raise UserError(f"{split} is a split, and holds {joined(names)}: splits again. The layout is {LAYOUT}")
    return names


def _refuse_splits_in_classes(root: Path, tops: list[str]) -> None:
    """Raise UserError for class folders that hold splits: these would be mixed with each other."""
    for name in tops:
        splits = split_names.match_split_names(_folders(root / name))
        if TRAIN in splits.values() and len(set(splits.values())) > 1:
            raise UserError(
                f"the class folder {root / name} holds {joined(splits)}: splits lie around the classes and not in "
                f"them. The layout is {LAYOUT}"
            )


def _all_classes(root: Path, splits: dict[str, int]) -> list[str]:
    """Return all classes. Training must have all of them; published validation and test sets often lack some."""
    classes = {split: {name.strip() for name in _classes(root / split)} for split in splits}
    every = sorted(set().union(*classes.values()))
    for split in (split for split, number in splits.items() if number == TRAIN):
        lacking = [name for name in every if name not in classes[split]]
        more = ", ..." if len(lacking) > 20 else ""
        if lacking:
            raise UserError(
                f"{root / split} lacks classes that other splits have: {joined(lacking[:20])}{more}. "
                "Add images to train on, or move these classes out of the others"
            )
    return every


def _too_few_classes(root: Path, splits: dict[str, int], names: list[str], needed: int) -> str:
    where = root / next(iter(splits)) if splits else root
    text = f"{where} holds {f'one class folder ({names[0]})' if names else 'no class folders'}"
    loose = _loose_images(where)
    if loose:
        text += f" and {len(loose)} images that lie loose ({min(loose)}, ...)"
    hint = ""
    if not splits and len(names) == 1 and len(_subfolders(root / names[0])) > 1:
        hint = f". Did you mean dataset.path={root / names[0]}?"
    least = "one class is" if needed == 1 else "two classes are"
    return f"{text}; at least {least} needed, laid out as {LAYOUT}{hint}"


def _refuse_empty(folders: list[_ClassFolder]) -> None:
    lines = []
    for folder in (folder for folder in folders if not folder.images):
        if folder.assigned_split in (VAL, TEST) and not folder.others:
            continue  # a class may be missing there
        others = [name.rpartition("/")[2] for name in folder.others]
        more = ", ..." if len(others) > 5 else ""
        files = f"only {len(others)} files of other kinds: {joined(others[:5])}{more}" if others else "it is empty"
        lines.append(f"\n  {folder.name}: {files}")
    if lines:
        raise UserError(
            f"{len(lines)} class folders hold no images:{''.join(lines)}\n"
            f"Add images, or move the folders away. Pictures end in {joined(sorted(SUPPORTED_SUFFIXES))}"
        )


def _catalog(
    root: Path, classes: list[str], folders: list[_ClassFolder], ignored: Counter[str], remarks: tuple[str, ...]
) -> Catalog:
    label = {name: i for i, name in enumerate(classes)}
    images = sorted((name, label[folder.label], folder.assigned_split) for folder in folders for name in folder.images)
    names, labels, assigned_splits = zip(*images, strict=True)
    return Catalog(
        names=names,
        paths=tuple(f"{root}{os.sep}{name}" for name in names),
        arrays=None,
        labels=np.array(labels, np.int32),
        class_names=tuple(classes),
        assigned_splits=np.array(assigned_splits, np.int8),
        ignored=sum((folder.ignored for folder in folders), ignored),
        remarks=remarks,
    )


def _read(root: Path, name: str, assigned_split: int) -> _ClassFolder:
    images: list[str] = []
    others: list[str] = []
    ignored: Counter[str] = Counter()
    for folder, files in walk_visible_folders(root / name, ignored):
        relative = Path(folder).relative_to(root).as_posix()
        for file in files:
            if is_image_name(file):
                images.append(f"{relative}/{file}")
            else:
                ignored[_file_kind(file)] += 1
                if not _is_hidden(file):
                    others.append(f"{relative}/{file}")
    return _ClassFolder(name, assigned_split, tuple(sorted(images)), tuple(sorted(others)), ignored)


def walk_visible_folders(top: Path, ignored: Counter[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield every visible folder from `top` down with the names of all its files.

    Links are followed, but not up to a folder that holds the link: from a class folder that would be the whole dataset.
    Folders that are left out are counted in `ignored`, by kind. Raises UserError for a folder that cannot be listed.
    """
    seen = {str(parent) for parent in Path(os.path.realpath(top)).parents}
    for path, folders, files in os.walk(top, followlinks=True, onerror=_refuse_unreadable):
        real = os.path.realpath(path)
        if real in seen:
            ignored[LINKS_READ_ELSEWHERE] += 1
            folders.clear()
            continue
        seen.add(real)
        ignored.update(_folder_kind(folder) for folder in folders if _is_hidden(folder))
        # Sorted, so that the same one of a folder and a link to it is always read.
        folders[:] = sorted(folder for folder in folders if not _is_hidden(folder))
        yield path, files


def _ignored_entries(folder: Path) -> Counter[str]:
    """Count the entries beside class folders or split folders, by kind."""
    counts: Counter[str] = Counter()
    for entry in os.scandir(folder):
        if _is_link_cycle(entry):
            counts[LINK_CYCLES] += 1
        elif not entry.is_dir():
            counts["images outside class folders" if is_image_name(entry.name) else _file_kind(entry.name)] += 1
        elif _is_hidden(entry.name):
            counts[_folder_kind(entry.name)] += 1
        elif _leads_up(entry):
            counts[LINKS_READ_ELSEWHERE] += 1
    return counts


def _folder_kind(name: str) -> str:
    return f"{name} folders" if name in SYSTEM_FOLDERS else "hidden folders"


def _file_kind(name: str) -> str:
    """Return the kind of a file that is not an image: .DS_Store, ._ files, hidden files, .txt, ..."""
    if name.lower() in SYSTEM_FILES:
        return SYSTEM_FILES[name.lower()]
    if name.startswith("._"):
        return "._ files"
    if _is_hidden(name):
        return "hidden files"
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    return printable(suffix) if suffix else "files without an ending"


def _loose_images(folder: Path) -> list[str]:
    """Return the images that lie directly in a folder."""
    return [e.name for e in os.scandir(folder) if is_image_name(e.name) and not _is_link_cycle(e) and e.is_file()]


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if _is_subfolder(entry))
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from error


def _subfolders(folder: Path) -> list[str]:
    """Return the folders in a folder, which may be classes: their names must be text."""
    names = _folders(folder)
    broken = [name for name in names if printable(name) != name or not name.strip()]
    if broken:  # bytes that are no text, newlines, nothing but spaces: class names go into reports, metrics and JSON
        raise UserError(f"{folder} holds folders whose names are not valid text: {joined(map(ascii, broken))}")
    return names


def _is_subfolder(entry: os.DirEntry[str]) -> bool:
    return not _is_hidden(entry.name) and not _is_link_cycle(entry) and entry.is_dir() and not _leads_up(entry)


def _is_link_cycle(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a link that leads to itself only."""
    try:
        entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return True
    return False


def _leads_up(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a link to a folder that holds it, which would add the whole dataset as a class."""
    if not entry.is_symlink():
        return False
    return Path(entry.path).parent.resolve().is_relative_to(Path(entry.path).resolve())


def _refuse_unreadable(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be listed: {error.strerror}") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FOLDERS


def is_image_name(name: str) -> bool:
    """Return whether a file is a visible image by its name, including formats that are not read (HEIC, ...)."""
    return not _is_hidden(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - 60,000 of them
