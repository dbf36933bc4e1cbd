"""Random numbers depend on the seed, the stream and the counters only."""

import pytest

from thaw.data.seeds import digest_counters, rng_for


def drawn(*key):
    return rng_for(*key).integers(1 << 62)


def test_the_same_key_always_draws_the_same():
    assert drawn(3, "augment", 1, 2, 9) == drawn(3, "augment", 1, 2, 9)


def test_every_other_key_draws_something_else():
    keys = [
        (0, "shuffle", 0, 0),
        (0, "split", 0),
        (0, "split", 0, 0),  # plain entropy, padded with zeros, would make this the one above
        (0, "augment", 0, 0, 0),
        (0, "augment", 0, 0, 1),
        (0, "augment", 0, 1, 0),
        (0, "augment", 1, 0, 0),
        (1, "augment", 0, 0, 0),
    ]
    assert len({drawn(*key) for key in keys}) == len(keys)


def test_an_unknown_stream_is_refused():
    with pytest.raises(KeyError):
        rng_for(0, "noise")


@pytest.mark.parametrize("counter", [-1, 2**32])
def test_a_counter_that_would_be_taken_for_several_is_refused(counter):
    with pytest.raises(ValueError, match="2\\*\\*32"):
        rng_for(0, "augment", counter)


def test_a_hash_is_converted_to_counters_without_loss():
    assert digest_counters("00000000ffffffff00000001") == (0, 2**32 - 1, 1)
    assert len(digest_counters("0" * 64)) == 8
    assert drawn(0, "view", 1, *digest_counters("0" * 64)) != drawn(0, "view", 1, *digest_counters("0" * 63 + "1"))
