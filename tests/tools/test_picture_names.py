"""Names of the pictures that predict writes of images."""

from thaw.tools.picture_names import picture_names


def test_every_image_has_a_name_of_its_own() -> None:
    assert picture_names(["/a/lion.jpg", "/b/tiger.png"]) == ["lion", "tiger"]
    assert picture_names(["/a/1.jpg", "/b/1.jpg", "/b/2.jpg"]) == ["a-1", "b-1", "2"]
    assert picture_names(["/x/a/1.jpg", "/y/a/1.jpg", "/x/a-1.jpg"]) == ["a-1-2", "a-1-3", "a-1"]
    assert picture_names(["/a/1.jpg", "/a/1.png", "/a/1.JPG"]) == ["a-1", "a-1-2", "a-1-3"]
    assert picture_names(["/a/Lion.jpg", "/b/lion.jpg"]) == ["a-Lion", "b-lion"], "some disks know one case only"


def test_a_name_is_one_that_any_disk_takes() -> None:
    assert picture_names(["/a/caf\udce9\n\r.jpg", '/a/<b>:"x|y?*\\z.png']) == ["caf___", "_b___x_y___z"]
    long = picture_names([f"/a/{'猫' * 200}.jpg", f"/b/{'猫' * 200}.png", "/a/. .png", "/a/\u00e9t\u00e9.png"])
    assert len(set(long)) == 4
    assert all(0 < len(name.encode()) <= 240 for name in long)
    assert long[2:] == ["_", "été"]
