import pytest

from thaw.data.decode import BadImageError, decode

from .pictures import encoded, noise


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<html>not found</html>", "not a picture"),
        (encoded(noise(4, 4), "PCX"), "PCX is not read"),
        (encoded(noise(4, 4), "TGA"), "TGA is not read"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC is not read"),
        (b"8BPS\0\1", "PSD .*is not read"),
    ],
)
def test_what_is_no_picture_is_refused(content, reason):
    with pytest.raises(BadImageError, match=reason):
        decode(content)
