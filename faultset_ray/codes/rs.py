"""``rs:k+m``: systematic Reed–Solomon; any k of the n = k + m shards give the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from faultset_ray.limits import CODE_SHARDS_MAX as N_MAX

from . import check
from .linear import LinearCode
from .matrices import PARITY
from .spec import Spec


class ReedSolomon(LinearCode):
    """Reed–Solomon over GF(2^8). ``matrix=`` names the parity matrix, for compatibility with others."""

    options: ClassVar[Mapping[str, str]] = {"matrix": "cauchy"}

    @classmethod
    def from_spec(cls, spec: Spec) -> ReedSolomon:  # noqa: D102 - the contract's
        full = spec.complete(cls.options)
        if len(spec.shape) != 2:
            raise spec.fail('expected two numbers, "rs:k+m"')
        k, m = spec.shape
        if k < 1 or m < 1 or k + m > N_MAX:
            raise spec.fail(f"k = {k} and m = {m} give n = {k + m}; expected 1 or more of each and n up to {N_MAX}")
        construct = PARITY.get(full.options["matrix"])
        if construct is None:
            raise spec.fail(f"unknown matrix {full.options['matrix']!r}; there are: {', '.join(PARITY)}")
        return cls(str(full), construct(k, m))

    def _candidates(self, wanted: tuple[int, ...], present: list[int]) -> list[int]:
        """Return the k cheapest: any k do."""
        if len(present) < self.k and not set(wanted) <= set(present):
            raise check.not_enough(present, self.k, self.n)
        return super()._candidates(wanted, present)[: self.k]
