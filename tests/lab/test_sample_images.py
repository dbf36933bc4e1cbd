"""Images to measure with."""

import numpy as np
from PIL import Image

from thaw_lab import sample_images


def test_the_same_number_and_seed_give_the_same_photo() -> None:
    first, quality = sample_images.make_photo(7)
    again, same_quality = sample_images.make_photo(7)
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert quality == same_quality
    assert not np.array_equal(np.asarray(first), np.asarray(sample_images.make_photo(9)[0]))
    assert not np.array_equal(np.asarray(first), np.asarray(sample_images.make_photo(7, seed=1)[0]))


def test_photos_are_500x375_jpegs_of_two_classes(tmp_path) -> None:
    folder = sample_images.photo_folder(tmp_path, 8, with_test=False)
    files = sorted(folder.glob("*/*.jpg"))
    assert [file.parent.name for file in files] == ["china"] * 4 + ["flower"] * 4
    for file in files:
        with Image.open(file) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (500, 375))
    assert all(80 <= sample_images.make_photo(number)[1] <= 95 for number in range(8))


def test_every_tenth_photo_is_a_test_photo(tmp_path) -> None:
    folder = sample_images.photo_folder(tmp_path, 40, with_test=True)
    counts = {part: len(list(folder.glob(f"{part}/*/*.jpg"))) for part in ("train", "test")}
    assert counts == {"train": 36, "test": 4}
    assert {file.parent.name for file in folder.glob("test/*/*")} == {"china", "flower"}


def test_a_larger_folder_begins_with_the_smaller_ones_photos(tmp_path) -> None:
    few, many = (sample_images.photo_folder(tmp_path, count, with_test=False) for count in (4, 6))
    for file in few.glob("*/*.jpg"):
        assert (many / file.relative_to(few)).samefile(file)


def test_digits_hold_every_class_in_training_and_test(tmp_path) -> None:
    folder = sample_images.digits_folder(tmp_path, 40)
    for part in ("train", "test"):
        assert [len(list((folder / part / str(digit)).iterdir())) for digit in range(10)] == [4] * 10


def test_noise_stands_in_for_cifar(tmp_path) -> None:
    folder, arrays, kind = sample_images.cifar_like(tmp_path, tmp_path / "nowhere", 100)
    assert kind == "noise"
    assert len(list(folder.glob("*/*.png"))) == 100
    with np.load(arrays) as file:
        assert file["images"].shape == (100, 32, 32, 3)
        assert np.bincount(file["labels"]).tolist() == [10] * 10
