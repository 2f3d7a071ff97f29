"""Shard format v1 a second time: from docs/formats.md, with nothing but ints and bytes."""

import hashlib


def crc32c(data: bytes, crc: int = 0) -> int:
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _table_entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ 0x82F63B78 if byte & 1 else byte >> 1
    return byte


TABLE = [_table_entry(byte) for byte in range(256)]


def u(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def data_blocks(data: bytes, k: int, block_bytes: int) -> list[list[bytes]]:
    """The k data blocks of each stripe."""
    stripes = []
    while data:
        stripe, data = data[: k * block_bytes], data[k * block_bytes :]
        length = -(-len(stripe) // k)
        length += -length % 64
        stripe = stripe.ljust(k * length, b"\0")
        stripes.append([stripe[row * length : (row + 1) * length] for row in range(k)])
    return stripes


def header(
    index: int,
    k: int,
    n: int,
    block_bytes: int,
    write_id: bytes,
    spec: str,
    generation: int = 0,
    object_id: bytes = bytes(32),
    granule_bytes: int = 65536,
) -> bytes:
    body = b"\x89FSR\r\n\x1a\n" + u(1, 2) + u(256, 2) + u(1, 1) + u(1, 1) + bytes(2)
    body += u(index, 4) + u(k, 4) + u(n, 4) + u(block_bytes, 4) + u(granule_bytes, 4) + bytes(4)
    body += u(generation, 8) + object_id + write_id + bytes(16) + u(len(spec), 1) + spec.encode().ljust(63, b"\0")
    body += bytes(76)
    return body + u(crc32c(body), 4)


def digests(write_id: bytes, index: int, stripe: int, block: bytes, granule_bytes: int) -> bytes:
    granules = [block[at : at + granule_bytes] for at in range(0, len(block), granule_bytes)]
    return b"".join(
        u(crc32c(write_id + u(index, 4) + u(stripe, 8) + u(position, 4) + granule), 4)
        for position, granule in enumerate(granules)
    )


def trailer(head: bytes, size: int, stripes: int, object_digest: bytes, table: bytes) -> bytes:
    body = b"FSRSEAL\n" + u(size, 8) + u(stripes, 8) + bytes(8) + object_digest
    body += hashlib.sha256(head + table).digest() + bytes(32) + bytes(28)
    return body + u(crc32c(head[:252] + body), 4)


def shard(head: bytes, blocks: list[bytes], size: int, object_digest: bytes) -> bytes:
    """A whole shard file, given its header and the block of each stripe."""
    index, granule_bytes = int.from_bytes(head[16:20], "little"), int.from_bytes(head[32:36], "little")
    tables = [digests(head[80:96], index, stripe, block, granule_bytes) for stripe, block in enumerate(blocks)]
    body = b"".join(block + table for block, table in zip(blocks, tables, strict=True))
    return head + body + trailer(head, size, len(blocks), object_digest, b"".join(tables))


def xor_shards(
    data: bytes, k: int, block_bytes: int, write_id: bytes, granule_bytes: int = 65536, generation: int = 0
) -> list[bytes]:
    """The k + 1 shard files of an object, the last of them XOR of the others."""
    stripes = data_blocks(data, k, block_bytes)
    rows = [[*blocks, xor(blocks)] for blocks in stripes]
    object_digest = hashlib.sha256(data).digest()
    files = []
    for index in range(k + 1):
        head = header(index, k, k + 1, block_bytes, write_id, f"xor:{k}+1", generation, granule_bytes=granule_bytes)
        files.append(shard(head, [blocks[index] for blocks in rows], len(data), object_digest))
    return files


def xor(blocks: list[bytes]) -> bytes:
    total = 0
    for block in blocks:
        total ^= int.from_bytes(block, "little")
    return total.to_bytes(len(blocks[0]), "little")
