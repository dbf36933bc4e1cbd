"""What the decoder makes of a file: pixels, or a refusal."""

import numpy as np
import pytest

from thaw.data.decode import BadImageError, decode


def decoded_pixels(source):
    """Return uint8 (h, w, 3), and check that the image is RGB in full size."""
    decoded = decode(source)
    assert decoded.image.mode == "RGB"
    assert decoded.image.size == (decoded.width, decoded.height)
    return np.asarray(decoded.image)


def refused(source, **options):
    """Return the kind and the reason of a file that is refused."""
    with pytest.raises(BadImageError) as caught:
        decode(source, **options)
    return caught.value.kind, caught.value.reason
