"""What a teacher says of every image: computed once, and read from disk afterwards."""

from relatum.cache.fill import Progress, Unheard, remember, sizes
from relatum.cache.identity import Identity, digest_of, identity_of
from relatum.cache.store import Store, check_root, in_words

__all__ = [
    "Identity",
    "Progress",
    "Store",
    "Unheard",
    "check_root",
    "digest_of",
    "identity_of",
    "in_words",
    "remember",
    "sizes",
]
