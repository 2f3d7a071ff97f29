"""``rs:k+m``: systematic Reed–Solomon; any k of the n = k + m shards give the data."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

from faultset_ray.kernels.gf_tables import Bytes
from faultset_ray.limits import CODE_SHARDS_MAX as N_MAX

from . import check
from .linear import LinearCode
from .matrices import PARITY, isal_vand_is_mds
from .spec import Spec


class ReedSolomon(LinearCode):
    """Reed–Solomon over GF(2^8). ``matrix=`` names the parity matrix, for compatibility with others.

    ``matrix=isal_vand`` has one more option, ``allow_non_mds=1``, to read what ISA-L or Ceph wrote
    with k and m for which that matrix doesn't survive every loss of m shards.
    """

    options: ClassVar[Mapping[str, str]] = {"matrix": "cauchy"}

    def __init__(self, spec: str, parity: Bytes, *, mds: bool = True) -> None:
        super().__init__(spec, parity)
        self._mds = mds

    @classmethod
    def from_spec(cls, spec: Spec) -> ReedSolomon:  # noqa: D102 - the contract's
        vandermonde = spec.options.get("matrix") == "isal_vand"
        full = spec.complete({**cls.options, "allow_non_mds": "0"} if vandermonde else cls.options)
        if len(spec.shape) != 2:
            raise spec.fail('expected two numbers, "rs:k+m"')
        k, m = spec.shape
        if k < 1 or m < 1 or k + m > N_MAX:
            raise spec.fail(f"k = {k} and m = {m} give n = {k + m}; expected 1 or more of each and n up to {N_MAX}")
        matrix, allow = full.options["matrix"], full.options.get("allow_non_mds", "0")
        if matrix not in PARITY:
            raise spec.fail(f"unknown matrix {matrix!r}; there are: {', '.join(PARITY)}")
        if allow not in {"0", "1"}:
            raise spec.fail(f"allow_non_mds is {allow!r}; expected 0 or 1")
        mds = not vandermonde or isal_vand_is_mds(k, m)
        if not mds and allow == "0":
            raise spec.fail(
                f"isal_vand with k = {k}, m = {m} loses data to some losses of {m}; allow_non_mds=1 takes it"
            )
        return cls(str(full), PARITY[matrix](k, m), mds=mds)

    @cached_property
    def tolerance(self) -> int:  # noqa: D102 - the contract's
        return self.n - self.k if self._mds else super().tolerance

    def _orders(self, wanted: tuple[int, ...], present: list[int], cost: Mapping[int, float] | None) -> list[list[int]]:
        """Return the k cheapest: any k do; more only of those wanted."""
        if len(present) < self.k and not set(wanted) <= set(present):
            raise check.not_enough(present, self.k, self.n)
        first, plain = super()._orders(wanted, present, cost)
        return [first[: max(self.k, len(wanted))], plain[: self.k]] if self._mds else [first, plain]
