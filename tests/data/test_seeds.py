import hashlib

import torch

from relatum.data.seeds import generator


def numbers(*purpose: int | str) -> list[int]:
    return torch.randint(1 << 30, (4,), generator=generator(*purpose)).tolist()


def test_same_purpose_same_numbers() -> None:
    assert numbers(3, "epoch", 1) == numbers(3, "epoch", 1)


def test_any_other_purpose_other_numbers() -> None:
    purposes = [(0, "order"), (1, "order"), (0, "flip"), (0, "epoch", 1), (0, "epoch", 11), (-1,)]
    purposes += [(1, 11), (11, 1), (2**32,), (2**64 + 1,)]
    assert len({tuple(numbers(*purpose)) for purpose in purposes}) == len(purposes)


def test_the_seed_is_as_documented() -> None:
    """And so the same in every process, unlike Python's own hash of words."""
    wanted = int.from_bytes(hashlib.blake2b(b"7/order", digest_size=4).digest(), "big")
    assert generator(7, "order").initial_seed() == wanted
