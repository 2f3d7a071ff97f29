"""What a write made, for those who keep track of it themselves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from faultset_ray.shards.format import Header


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was encoded, and into what; decoding needs none of it, since each shard says it too."""

    write_id: str
    """Which write this is, in hex: the same in all its shards and in no others."""
    spec: str
    """The code's canonical text."""
    k: int
    n: int
    size: int
    """Bytes of the object."""
    sha256: str
    """Of the object, in hex."""
    stripes: int
    shard_bytes: int
    """Length of each shard."""

    @classmethod
    def of(cls, header: Header, size: int, stripes: int, sha256: bytes) -> Manifest:
        """Describe a write."""
        return cls(
            header.write_id.hex(),
            header.spec,
            header.k,
            header.n,
            size,
            sha256.hex(),
            stripes,
            header.layout.file_bytes(size),
        )

    def to_dict(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        return asdict(self)
