"""``xor:k+1`` and ``copy:n``: the two plainest codes, to compare with."""

from __future__ import annotations

import numpy as np

from faultset_ray.limits import CODE_SHARDS_MAX as N_MAX

from .linear import LinearCode
from .spec import Spec


class Xor(LinearCode):
    """One parity shard, the XOR of all data: survives one loss, as RAID 5 does."""

    @classmethod
    def from_spec(cls, spec: Spec) -> Xor:  # noqa: D102 - the contract's
        full = spec.complete(cls.options)
        if len(spec.shape) != 2 or spec.shape[1] != 1:
            raise spec.fail('expected "xor:k+1"')
        k = spec.shape[0]
        if not 1 <= k < N_MAX:
            raise spec.fail(f"k is {k}; expected 1 to {N_MAX - 1}")
        return cls(str(full), np.ones((1, k), dtype=np.uint8))


class Copy(LinearCode):
    """n copies: survives the loss of all but one, at n times the size."""

    @classmethod
    def from_spec(cls, spec: Spec) -> Copy:  # noqa: D102 - the contract's
        full = spec.complete(cls.options)
        if len(spec.shape) != 1:
            raise spec.fail('expected one number, "copy:n"')
        n = spec.shape[0]
        if not 2 <= n <= N_MAX:
            raise spec.fail(f"n is {n}; expected 2 to {N_MAX} copies, the original among them")
        return cls(str(full), np.ones((n - 1, 1), dtype=np.uint8))
