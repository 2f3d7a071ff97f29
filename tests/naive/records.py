"""Commit records a second time: from docs/formats.md, with nothing but ints and bytes."""

from naive.shards import crc32c, u


def record(
    kind: int,
    name: str,
    generation: int,
    write_id: bytes,
    size: int,
    sha256: bytes,
    spec: str,
    k: int,
    n: int,
    block_bytes: int,
    tolerate: int,
    created_ms: int,
    durability: int,
) -> bytes:
    raw = name.encode()
    body = b"\x89FSRREC\n" + u(1, 2) + u(kind, 1) + u(durability, 1) + u(len(raw), 2) + bytes(2)
    body += u(generation, 8) + u(size, 8) + u(created_ms, 8)
    body += u(k, 4) + u(n, 4) + u(block_bytes, 4) + u(tolerate, 4)
    body += write_id + sha256 + u(len(spec), 1) + spec.encode().ljust(63, b"\0") + bytes(20) + raw
    return body + u(crc32c(body), 4)
