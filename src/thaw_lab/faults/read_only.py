"""Folders that nobody may write to: outputs, cache, the data set's."""

from functools import partial

from thaw_lab import photos
from thaw_lab.faults.mounts import read_only
from thaw_lab.faults.trial import Trial, Work
from thaw_lab.faults.workspace import Yard, unclear

FAULT = "read-only"


def trials(yard: Yard) -> list[Work]:
    """One each; the cache empty, and with all that the run needs in it."""
    return [partial(outputs, yard), partial(cache, yard), partial(filled_cache, yard), partial(data, yard)]


def outputs(yard: Yard) -> Trial:
    """Said at once."""
    place = yard.place("read-only-outputs")
    place.outputs.mkdir()
    with read_only(place.outputs):
        ended = place.end(place.train())
    return place.judged(f"{FAULT} outputs", "one clear error", unclear(ended), error=ended.err)


def cache(yard: Yard) -> Trial:
    """Said before anything is computed; then the run goes on with a cache that can be written to."""
    place = yard.place("read-only-cache", "cache.dir=cache")
    (place.folder / "cache").mkdir()
    with read_only(place.folder / "cache"):
        ended = place.end(place.train())
        wrong = unclear(ended)
    wrong += place.goes_on()
    return place.judged(f"{FAULT} cache", "one clear error, identical when writable", wrong, error=ended.err)


def filled_cache(yard: Yard) -> Trial:
    """Works, or is refused as an empty one is."""
    place = yard.place("read-only-filled-cache", "cache.dir=cache")
    place.end(place.train())
    with read_only(place.folder / "cache"):
        ended = place.end(place.train())
        wrong = unclear(ended) if ended.code else place.compare(ended)
    seen = "works, identical" if not ended.code else "one clear error"
    return place.judged(f"{FAULT} cache with all in it", seen, wrong, error=ended.err)


def data(yard: Yard) -> Trial:
    """Works: pictures are only read."""
    place = yard.place("read-only-data")
    folder = photos.folder(place.folder, 40, tested=False)
    with read_only(folder):
        ended = place.end(place.train("dataset=image_folder", f"dataset.path={folder}", "dataset.limit_per_class=8"))
    wrong = [f"exit code {ended.code}: {ended.err.strip()}"] if ended.code else []
    if not wrong and place.status != "FINISHED":
        wrong.append(f"the run is {place.status}")
    return place.judged(f"{FAULT} data set", "works", wrong)
