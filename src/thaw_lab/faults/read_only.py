"""Folders that nobody may write to: outputs, cache, the data set's."""

from functools import partial

from thaw_lab import photos
from thaw_lab.faults.mounts import read_only_folder
from thaw_lab.faults.trial import Trial, TrialFunction
from thaw_lab.faults.workspace import Workspace, error_problems

FAULT = "read-only"


def read_only_trials(yard: Workspace) -> list[TrialFunction]:
    """One each; the cache empty, and with all that the run needs in it."""
    return [
        partial(read_only_outputs, yard),
        partial(read_only_cache, yard),
        partial(read_only_filled_cache, yard),
        partial(read_only_dataset, yard),
    ]


def read_only_outputs(yard: Workspace) -> Trial:
    """Said at once."""
    place = yard.new_trial_dir("read-only-outputs")
    place.outputs.mkdir()
    with read_only_folder(place.outputs):
        ended = place.wait_for_exit(place.start_training())
    return place.finish(f"{FAULT} outputs", "one clear error", error_problems(ended), error=ended.stderr)


def read_only_cache(yard: Workspace) -> Trial:
    """Said before anything is computed; then the run goes on with a cache that can be written to."""
    place = yard.new_trial_dir("read-only-cache", "cache.dir=cache")
    (place.folder / "cache").mkdir()
    with read_only_folder(place.folder / "cache"):
        ended = place.wait_for_exit(place.start_training())
        wrong = error_problems(ended)
    wrong += place.resume_and_compare()
    return place.finish(f"{FAULT} cache", "one clear error, identical when writable", wrong, error=ended.stderr)


def read_only_filled_cache(yard: Workspace) -> Trial:
    """Works, or is refused as an empty one is."""
    place = yard.new_trial_dir("read-only-filled-cache", "cache.dir=cache")
    place.wait_for_exit(place.start_training())
    with read_only_folder(place.folder / "cache"):
        ended = place.wait_for_exit(place.start_training())
        wrong = error_problems(ended) if ended.exit_code else place.compare(ended)
    seen = "works, identical" if not ended.exit_code else "one clear error"
    return place.finish(f"{FAULT} cache with all in it", seen, wrong, error=ended.stderr)


def read_only_dataset(yard: Workspace) -> Trial:
    """Works: pictures are only read."""
    place = yard.new_trial_dir("read-only-data")
    folder = photos.photo_folder(place.folder, 40, with_test=False)
    with read_only_folder(folder):
        ended = place.wait_for_exit(
            place.start_training("dataset=image_folder", f"dataset.path={folder}", "dataset.limit_per_class=8")
        )
    wrong = [f"exit code {ended.exit_code}: {ended.stderr.strip()}"] if ended.exit_code else []
    if not wrong and place.status != "FINISHED":
        wrong.append(f"the run is {place.status}")
    return place.finish(f"{FAULT} data set", "works", wrong)
