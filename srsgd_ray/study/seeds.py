"""Which seed a run has: a hash of the study and of what the run is for, or one that was given."""

from __future__ import annotations

import hashlib
import json

BITS = 31  # numpy takes seeds below 2**32, and what others read as a C int stays positive


def hashed_seed(*what: str | int) -> int:
    """A seed below ``2**31`` that depends on all of ``what``.

    Studies whose names or seeds differ in anything share no seeds, but by a chance of one in
    ``2**31`` for each pair of them; equal words give the same seed on every machine.
    """
    digest = hashlib.sha256(json.dumps(what).encode()).digest()
    return int.from_bytes(digest[:8], "big") % (1 << BITS)
