"""Whether the shards of a directory are sound, and whether the object would come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from faultset_ray.backend.protocol import Backend
from faultset_ray.errors import CodingError, CorruptShard, DigestMismatch, NotEnoughShards
from faultset_ray.objects.coding import Progress, decode_sparing, no_progress, nowhere
from faultset_ray.objects.files import OpenShards, open_directory
from faultset_ray.objects.groups import FORGED_BLOCKS, FORGED_END, Group
from faultset_ray.shards.reader import ShardReader

_GRANULES_TOLD_MAX = 1000

Granule = tuple[int, int]
"""Stripe, and position in its block."""


@dataclass(frozen=True, slots=True)
class ShardState:
    """How one shard is."""

    index: int
    path: Path | None
    """The file that was looked at; None if there is none."""
    reason: str = ""
    """Why it is damaged; empty if it is sound to the last granule."""
    corrupt: Sequence[Granule] = ()
    """Its corrupt granules, the first thousand."""


@dataclass(frozen=True, slots=True)
class Report:
    """How an object's shards are."""

    write_id: str
    spec: str
    size: int
    sha256: str
    shards: tuple[ShardState, ...]
    """All n, by index."""
    failure: NotEnoughShards | DigestMismatch | None
    """Why the object can't be decoded from them; None if it can."""

    copies: tuple[ShardState, ...] = ()
    """Further copies of shards, as far as they are not sound."""

    @property
    def damaged(self) -> tuple[int, ...]:
        """The shards that are not sound."""
        return tuple(shard.index for shard in self.shards if shard.reason)


async def verify_directory(
    backend: Backend, directory: Path, *, wanted: str | None = None, progress: Progress = no_progress
) -> Report:
    """Read all shards of a directory, then decode their object into nothing.

    Of several copies of a shard one must be sound. Only files called ``*.shard`` are looked at.

    Parameters
    ----------
    wanted
        As for :func:`~faultset_ray.objects.files.open_directory`.
    progress
        Is told of the bytes of the object, as they are decoded.

    Raises
    ------
    NotEnoughShards, AmbiguousObjectError, InputError
        There is no object to verify, or more than one.
    """
    async with open_directory(backend, directory, wanted) as found:
        group, missing = found.group, found.group.missing()
        states, copies = [], []
        places, there = found.places(), {file.path for file in found.files}
        for index in range(group.header.n):
            if index in group.members:
                best, *others = await backend.compute(_states, found, group, index)
                states.append(best)
                copies += [state for state in others if state.reason]
            else:
                states.append(ShardState(index, places[index] if places[index] in there else None, missing[index]))
        failure = None
        try:
            group, _ = await decode_sparing(backend, group, found.open_shards, nowhere, str(directory), progress)
        except (NotEnoughShards, DigestMismatch) as error:
            failure = error
        for index, path in _spared(found, group):
            if index in group.members:
                states[index] = (await backend.compute(_states, found, group, index))[0]
                copies.append(ShardState(index, path, FORGED_BLOCKS))
            else:
                states[index] = ShardState(index, path, FORGED_BLOCKS)
    trailer = group.trailer
    return Report(
        group.header.write_id.hex(),
        group.header.spec,
        trailer.size,
        trailer.object_digest.hex(),
        tuple(states),
        failure,
        tuple(copies),
    )


def _spared(found: OpenShards, group: Group) -> list[tuple[int, Path]]:
    """Shards of the write that it was decoded without, since its digest is right only so."""
    return [
        (file.header.index, file.path)
        for position, file in enumerate(found.files)
        if file.header is not None and replace(file.header, index=0) == group.header
        if position not in group.members.get(file.header.index, ())
    ]


def _states(found: OpenShards, group: Group, index: int) -> list[ShardState]:
    """Of one shard: of all its copies, the best first; of equal ones, that which is called so."""
    files = sorted((found.files[position] for position in group.members[index]), key=lambda file: file.named != index)
    states = [_state_of(group, file.path, index) for file in files]
    return sorted(states, key=lambda state: (bool(state.reason), len(state.corrupt)))


def _state_of(group: Group, path: Path, index: int) -> ShardState:
    corrupt: list[Granule] = []
    more = 0
    try:
        with ShardReader(path) as reader:
            if not group.is_sealed_by(reader):
                return ShardState(index, path, FORGED_END)
            for place in reader.check():
                if len(corrupt) < _GRANULES_TOLD_MAX:
                    corrupt.append(place)
                else:
                    more += 1
    except CorruptShard as error:
        return ShardState(index, path, f"corrupt: {error.reason}", corrupt)
    except CodingError as error:
        return ShardState(index, path, str(error), corrupt)
    except OSError as error:
        return ShardState(index, path, f"can't be read: {error.strerror}", corrupt)
    if not corrupt:
        return ShardState(index, path)
    stripe, granule = corrupt[0]
    others = len(corrupt) + more - 1
    rest = f" and {others:,} more" if others else ""
    return ShardState(index, path, f"corrupt: stripe {stripe}, granule {granule}{rest}", corrupt)
