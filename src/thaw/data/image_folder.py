"""Folders of pictures: one folder a class, either directly or inside train/, val/ and test/."""

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
from thaw.data import class_names, split_names
from thaw.data.catalog import TEST, TRAIN, UNASSIGNED, VAL, Catalog
from thaw.data.decode import IMAGE_SUFFIXES, SUPPORTED_SUFFIXES

LAYOUT = "PATH/CLASS/image.jpg, or PATH/train/CLASS/image.jpg with val/ and test/ beside train/ or not"
_SEVERAL = "splits by their names", "them", "they are classes"
SYSTEM_FOLDERS = {"__MACOSX", "@eaDir"}  # left by archives and storage boxes, full of tiny look-alikes of the pictures
LINK_CYCLES, LINKS_READ_ELSEWHERE = "links in a circle", "links to folders that are read anyway"
SYSTEM_FILES = {".ds_store": ".DS_Store", "thumbs.db": "Thumbs.db", "desktop.ini": "desktop.ini"}


@dataclass(frozen=True)
class _Folder:
    """A class folder: what lies in it at any depth, as names relative to the dataset's folder."""

    name: str
    given: int
    images: tuple[str, ...]
    others: tuple[str, ...]  # files that are no pictures
    ignored: Counter[str]  # all that was passed over, by kind

    @property
    def label(self) -> str:
        """The class's name: spaces around it do not count, as in a table."""
        return self.name.rpartition("/")[2].strip()


def load_catalog(dataset: DatasetConfig) -> Catalog:
    """List the pictures under `dataset.path`, sorted by name, whatever order the disk keeps them in.

    With train/, val/ and test/, under the names that `split_names` knows, their images are given to those splits; val/
    and test/ may be missing. Hidden files, system folders and files that are no pictures are passed over, and counted;
    pictures in formats that are not read (HEIC, ...) are listed, so that the scan names them. Folders inside a class
    folder belong to that class; a folder that is reached twice through links is read once. Raises UserError naming what
    is missing or does not fit, and what may be a split or a class.
    """
    root, remarks = _unwrapped(_root(dataset.path))
    tops = _subfolders(root)
    parts, more = _parts(root, tops)
    if parts:
        folders = [_read(root, part, name, number) for part, number in parts.items() for name in _classes(root / part)]
    else:
        _refuse_splits_inside(root, tops)
        folders = [_read(root, "", name, UNASSIGNED) for name in tops]
    _refuse_alike(root, folders)
    names = _common_classes(root, parts) if parts else sorted({folder.label for folder in folders})
    if len(names) < 2:
        raise UserError(_too_few(root, parts, names))
    _refuse_empty(folders)
    around = sum((_passed_over(folder) for folder in [root, *(root / part for part in parts)]), Counter())
    return _catalog(root, names, folders, around, (*remarks, *more))


def _root(path: str | None) -> Path:
    if path is None:
        raise UserError(f"dataset=image_folder needs dataset.path=PATH, a folder laid out as {LAYOUT}")
    root = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - keeps links: the user's own name for it
    if not root.exists():
        raise UserError(f"dataset.path={path} does not exist (looked for {root})")
    if not root.is_dir():
        raise UserError(f"dataset.path={path} is a file; image_folder needs a folder: unpack it first")
    return root


def _unwrapped(root: Path) -> tuple[Path, list[str]]:
    """Return the folder that holds the splits: an archive often unpacks into one folder around them; and say so."""
    tops = _subfolders(root)
    if len(tops) != 1 or _loose(root):
        return root, []
    inner = _subfolders(root / tops[0])
    sure = split_names.all_are_splits if split_names.match_split_names(tops) else split_names.has_several_splits
    if not sure(inner):  # train/ may hold classes called train and valid
        return root, []
    return root / tops[0], [f"the only folder in dataset.path holds the splits and is taken: {root / tops[0]}"]


def _parts(root: Path, tops: list[str]) -> tuple[dict[str, int], list[str]]:
    """Return the folders that hold each split's class folders, as they are called from `root`, and what to say of them.

    None when the folders are classes. A split is never taken for a class, save one whose name is an ordinary word
    (train, valid) and whose pictures lie loose beside other classes.
    """
    named = split_names.match_split_names(tops)
    if not named:
        return {}, []
    inner = {name: _inside(root, name, named[name]) for name in named}
    holding = [name for name in named if _subfolders(root / inner[name])]
    strangers = [name for name in tops if name not in holding and (name not in named or not _loose(root / inner[name]))]
    if not holding:
        return {}, _as_classes(root, list(named), [name for name in tops if name not in named])
    if TRAIN not in {named[name] for name in holding}:
        loose = [name for name in named if named[name] == TRAIN and name not in holding]
        why = f"no class folders in {joined(f'{name}/' for name in loose)}" if loose else "no train/"
        raise UserError(f"dataset.path={root} holds {joined(holding)} but {why}: the layout is {LAYOUT}")
    strangers += [name for name in holding if named[name] == split_names.UNLABELLED]
    if strangers:
        raise UserError(
            f"dataset.path={root} holds {joined(holding)} and also {joined(strangers)}: "
            "move the others out, it is not clear what they are"
        )
    if len({named[name] for name in holding}) < len(holding):
        raise UserError(f"dataset.path={root} holds {joined(holding)}: two of them mean the same split; keep one")
    parts = {inner[name]: named[name] for name in sorted(holding, key=lambda name: named[name])}
    return parts, _said(root, parts, [inner[name] for name in named if name not in holding])


def _said(root: Path, parts: dict[str, int], unlabelled: list[str]) -> list[str]:
    """What was taken for which split, where that is not plain from the names, and which pictures have no class."""
    usual = split_names.SPLIT_NAMES
    taken = [f"{part}/ for {usual[number]}" for part, number in parts.items() if part != usual[number]]
    said = [f"taken by their names: {joined(taken)}"] if taken else []
    for part in unlabelled:
        n = len(_loose(root / part))
        said.append(f"{part}/ is not used: its {n:,} images lie in no class folders, so nobody says what they show")
    return said


def _as_classes(root: Path, named: list[str], others: list[str]) -> list[str]:
    """Return what to say of a class that is called as a split is; raise UserError where it may be a split."""
    if not others:
        raise UserError(
            f"dataset.path={root} holds {joined(f'{name}/' for name in named)} for a split, with no class folders in "
            f"{'it' if len(named) == 1 else 'them'}: nothing says which class a picture is of. Sort the pictures into "
            f"class folders, as {LAYOUT}, or write their labels into a table: dataset=csv"
        )
    if len(named) == 1 and split_names.may_be_class_name(named[0]):
        return [f"{named[0]}/ is taken for a class, as its images lie beside those of other classes"]
    what, it, they = ("a split by its name", "it", "it is a class") if len(named) == 1 else _SEVERAL
    beside = joined(f"{name}/" for name in others[:5]) + (", ..." if len(others) > 5 else "")
    raise UserError(
        f"dataset.path={root} holds {joined(f'{name}/' for name in named)}, {what}, beside {beside}, which are "
        f"classes. Move {it} out. Or, if {they}, put all class folders into {root / 'train'}"
    )


def _inside(root: Path, name: str, number: int) -> str:
    """Return where the class folders of a split lie: seg_train/seg_train, train/images, as archives unpack."""
    for _ in range(2):
        inner = _subfolders(root / name)
        if len(inner) != 1 or _loose(root / name):
            break
        same = inner[0].casefold() == name.rpartition("/")[2].casefold()
        if not (
            same or split_names.match_split_names(inner) == {inner[0]: number} or split_names.is_decoration(inner[0])
        ):
            break
        name = f"{name}/{inner[0]}"
    return name


def _classes(part: Path) -> list[str]:
    """Return the class folders of a split; raise UserError where they are splits themselves."""
    names = _subfolders(part)
    if split_names.all_are_splits(names):
        raise UserError(f"{part} is a split, and holds {joined(names)}: splits again. The layout is {LAYOUT}")
    return names


def _refuse_splits_inside(root: Path, tops: list[str]) -> None:
    """Splits given inside class folders would be mixed with each other."""
    for name in tops:
        inner = _folders(root / name)
        if split_names.has_several_splits(inner) and TRAIN in split_names.match_split_names(inner).values():
            raise UserError(
                f"the class folder {root / name} holds {joined(split_names.match_split_names(inner))}: splits lie "
                "around the "
                f"classes and not in them. The layout is {LAYOUT}"
            )


def _common_classes(root: Path, parts: dict[str, int]) -> list[str]:
    """Return the classes. Training must have them all; published validation and test sets often lack some."""
    classes = {part: {name.strip() for name in _classes(root / part)} for part in parts}
    every = sorted(set().union(*classes.values()))
    for part in (part for part, number in parts.items() if number == TRAIN):
        lacks = [name for name in every if name not in classes[part]]
        if lacks:
            raise UserError(
                f"{root / part} lacks classes that other splits have: {joined(lacks[:20])}"
                f"{', ...' if len(lacks) > 20 else ''}. Add images to train on, or move these classes out of the others"
            )
    return every


def _refuse_alike(root: Path, folders: list[_Folder]) -> None:
    names = [(folder.name.rpartition("/")[2], folder.name) for folder in folders]
    class_names.refuse_spelling_variants(
        names, f"dataset.path={root}", "Give the folders of a class one name, or put them together"
    )


def _too_few(root: Path, parts: dict[str, int], names: list[str]) -> str:
    where = root / next(iter(parts)) if parts else root
    said = f"{where} holds {f'one class folder ({names[0]})' if names else 'no class folders'}"
    loose = _loose(where)
    if loose:
        said += f" and {len(loose)} images that lie loose ({min(loose)}, ...)"
    hint = ""
    if not parts and len(names) == 1 and len(_subfolders(root / names[0])) > 1:
        hint = f". Did you mean dataset.path={root / names[0]}?"
    return f"{said}; at least two classes are needed, laid out as {LAYOUT}{hint}"


def _refuse_empty(folders: list[_Folder]) -> None:
    said = []
    for folder in (folder for folder in folders if not folder.images):
        if folder.given in (VAL, TEST) and not folder.others:
            continue  # a class may be missing there
        others = [name.rpartition("/")[2] for name in folder.others]
        more = ", ..." if len(others) > 5 else ""
        files = f"only {len(others)} files of other kinds: {joined(others[:5])}{more}" if others else "it is empty"
        said.append(f"\n  {folder.name}: {files}")
    if said:
        raise UserError(
            f"{len(said)} class folders hold no images:{''.join(said)}\n"
            f"Add images, or move the folders away. Pictures end in {joined(sorted(SUPPORTED_SUFFIXES))}"
        )


def _catalog(
    root: Path, classes: list[str], folders: list[_Folder], around: Counter[str], remarks: tuple[str, ...]
) -> Catalog:
    label = {name: i for i, name in enumerate(classes)}
    found = sorted((image, label[folder.label], folder.given) for folder in folders for image in folder.images)
    names, labels, given = zip(*found, strict=True)
    return Catalog(
        names=names,
        paths=tuple(f"{root}{os.sep}{name}" for name in names),
        arrays=None,
        labels=np.array(labels, np.int32),
        class_names=tuple(classes),
        assigned_splits=np.array(given, np.int8),
        ignored=sum((folder.ignored for folder in folders), around),
        remarks=remarks,
    )


def _read(root: Path, part: str, name: str, given: int) -> _Folder:
    top = f"{part}/{name}" if part else name
    images: list[str] = []
    others: list[str] = []
    ignored: Counter[str] = Counter()
    for here, files in walk_visible_folders(root / top, ignored):
        relative = Path(here).relative_to(root).as_posix()
        for file in files:
            if is_image_name(file):
                images.append(f"{relative}/{file}")
            else:
                ignored[_file_kind(file)] += 1
                if not _is_hidden(file):
                    others.append(f"{relative}/{file}")
    return _Folder(top, given, tuple(sorted(images)), tuple(sorted(others)), ignored)


def walk_visible_folders(top: Path, ignored: Counter[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield every folder from `top` down that is read, and the names of all its files; what is not is counted.

    Links are followed, but none up into a folder that it lies in: from a class folder that would be the whole dataset.
    Raises UserError naming a folder that cannot be listed.
    """
    seen = {str(parent) for parent in Path(os.path.realpath(top)).parents}
    for here, folders, files in os.walk(top, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(here)
        if real in seen:
            ignored[LINKS_READ_ELSEWHERE] += 1
            folders.clear()
            continue
        seen.add(real)
        ignored.update(_folder_kind(folder) for folder in folders if _is_hidden(folder))
        # Sorted, so that of a folder and a link to it the same one is always read.
        folders[:] = sorted(folder for folder in folders if not _is_hidden(folder))
        yield here, files


def _passed_over(folder: Path) -> Counter[str]:
    """Count what lies in a folder of class folders, or of split folders, and is none."""
    counts: Counter[str] = Counter()
    for entry in os.scandir(folder):
        if _is_circle(entry):
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
    """Say what a file is that is no picture: .DS_Store, ._ files, hidden files, .txt, ..."""
    if name.lower() in SYSTEM_FILES:
        return SYSTEM_FILES[name.lower()]
    if name.startswith("._"):
        return "._ files"
    if _is_hidden(name):
        return "hidden files"
    ending = os.path.splitext(name)[1].lower()  # noqa: PTH122
    return printable(ending) if ending else "files without an ending"


def _loose(folder: Path) -> list[str]:
    """The pictures that lie in a folder itself."""
    return [e.name for e in os.scandir(folder) if is_image_name(e.name) and not _is_circle(e) and e.is_file()]


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if _is_subfolder(entry))
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from error


def _subfolders(folder: Path) -> list[str]:
    """The folders in a folder, which may be classes: their names must be text."""
    names = _folders(folder)
    broken = [name for name in names if printable(name) != name or not name.strip()]
    if broken:  # bytes that are no text, newlines, nothing but spaces: class names go into reports, metrics and JSON
        raise UserError(f"{folder} holds folders whose names are not valid text: {joined(map(ascii, broken))}")
    return names


def _is_subfolder(entry: os.DirEntry[str]) -> bool:
    return not _is_hidden(entry.name) and not _is_circle(entry) and entry.is_dir() and not _leads_up(entry)


def _is_circle(entry: os.DirEntry[str]) -> bool:
    """Say whether it is a link that leads nowhere but to itself."""
    try:
        entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return True
    return False


def _leads_up(entry: os.DirEntry[str]) -> bool:
    """Say whether it is a link to a folder that it lies in: it would bring in the whole dataset as a class."""
    if not entry.is_symlink():
        return False
    return Path(entry.path).parent.resolve().is_relative_to(Path(entry.path).resolve())


def _unreadable(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be listed: {error.strerror}") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FOLDERS


def is_image_name(name: str) -> bool:
    """Say by its name whether a file is a visible picture, one that is not read (HEIC, ...) too."""
    return not _is_hidden(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - 60,000 of them
