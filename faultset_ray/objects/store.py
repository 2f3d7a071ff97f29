"""The store: one place's directory of shards and records, as a servant with plain values in and out."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faultset_ray.columns import is_int
from faultset_ray.errors import CorruptShard, FaultsetError, InputError, ShardNotFound, UnsupportedFormat
from faultset_ray.objects.entry import Fence
from faultset_ray.objects.record import Record
from faultset_ray.objects.store_base import StoreBase
from faultset_ray.objects.store_records import RecordKey, is_full
from faultset_ray.objects.store_shards import check_key
from faultset_ray.objects.store_values import Block, Blocks, Check, Held, Key, Read, ScanPage, SealReceipt, Whole
from faultset_ray.shards.digest import verify_block
from faultset_ray.shards.disk import fsync_directory
from faultset_ray.shards.format import Header
from faultset_ray.shards.reader import ShardFile
from faultset_ray.shards.writer import check_same_seal


class Store(StoreBase):
    """Shards and records on one disk. Every method may be called from several threads, and again after a lost answer.

    A shard is known by its write id (16 bytes) and index, a record by its object id and generation; nothing else
    becomes a name on disk. Blocks are verified when they arrive, against the digests that the encoder made; what is
    read is to be verified by whoever uses it.

    Methods that change what is acknowledged take a :class:`~faultset_ray.objects.entry.Fence`. The first one that is
    shown makes the store its catalog's; a higher epoch is remembered on disk, and lower ones are refused from then
    on. They raise ``StaleEpoch`` or ``CatalogMismatch`` then, with nothing changed.

    Parameters
    ----------
    root
        Directory that the store takes a subdirectory of its own in, below that of its system. It and its shards are
        found in again after a restart. None for the temporary directory.
    place, region
        Where this is, for receipts.
    system
        Whose shards these are.
    identity
        16 random bytes, which name the store if its directory is new.
    private
        Whether shards and records go with the process; so it is without `root` anyhow.

    Raises
    ------
    StoreFailure
        If the directory can't be made or locked. Any method raises it when the disk fails; what was in hand is then
        dropped whole, and what was acknowledged stays.
    """

    # -- Shards that grow

    def begin(self, header: bytes, beside: bool = False) -> None:
        """Create an unsealed shard, if it isn't there: only an empty object's needs it, as no block does.

        Raises
        ------
        CorruptShard, InputError, WriteAborted
            As :meth:`append`.
        """
        parsed = Header.unpack(header, "header")
        with self._operation("begin a shard", (parsed.write_id, parsed.index)):
            self._check_room(len(header))
            self._unsealed.writer(parsed, header, beside=beside)

    def append(
        self, header: bytes, stripe: int, block: NDArray[np.uint8], digests: NDArray[np.uint8], beside: bool = False
    ) -> None:
        """Take one block of an unsealed shard; the first one creates the shard. Repeats do nothing.

        Parameters
        ----------
        header
            The shard's packed header, the same with every block.
        stripe
            In any order.
        block, digests
            uint8[L] and uint8[granules, 4], contiguous; not kept.
        beside
            Whether the shard is made anew while the one that stands there stays, until :meth:`swap`.

        Raises
        ------
        CorruptShard
            If header or block are not as the encoder made them.
        InputError
            If the shard was begun with another header, or the stripe appended with other bytes.
        WriteAborted
            It was.
        ShardSizeError
            If lengths don't fit the header.
        """
        parsed = Header.unpack(header, "header")
        corrupt = verify_block(parsed, stripe, block, digests)
        if corrupt:
            raise CorruptShard(parsed.label, f"stripe {stripe} arrived with corrupt granules {list(corrupt)}")
        with self._operation("append a block", (parsed.write_id, parsed.index)):
            self._check_room(block.nbytes)
            writer = self._unsealed.writer(parsed, header, beside=beside)
            if writer is not None:
                writer.append(stripe, block, digests)
                self._sealed.make_buckets([parsed.write_id])  # now, and not while the seal is waited for

    def seal(
        self,
        write_id: bytes,
        index: int,
        size: int,
        stripes: int,
        sha256: bytes,
        fence: Fence | None = None,
        beside: bool = False,
    ) -> SealReceipt:
        """Finish a shard; with durability "fsync" it is on disk when this returns. Repeats return the same.

        Parameters
        ----------
        size, stripes, sha256
            Of the whole object.
        beside
            As in :meth:`append`: it is on the disk, but not in its place.

        Raises
        ------
        ShardNotFound
            If it was never begun.
        WriteAborted
            It was.
        IncompleteShard, ShardSizeError
            If blocks are missing, or don't fit the size.
        InputError
            If it is sealed with other values.
        StaleEpoch, CatalogMismatch
            See the class.
        """
        key = check_key(write_id, index)
        with self._operation("seal a shard", key):
            if fence is not None:
                self._admit(fence)
            writer = self._unsealed.get(key, beside=beside)
            if writer is None and beside:
                raise ShardNotFound(self.uuid, write_id.hex(), index)
            if writer is None:
                try:
                    return self._sealed_before(key, size, stripes, sha256)
                except ShardNotFound:
                    self._unsealed.refuse_aborted(write_id)
                    raise
            self._sealed.make_buckets([write_id])
            writer.seal(size, stripes, sha256, durable=self._home.durable)
            if not beside and self._unsealed.sealed(key):
                self._sealed.added(writer.header.layout.file_bytes(size))
            return self._receipt(key, writer.header.layout.file_bytes(size))

    def swap(self, write_id: bytes, index: int, reason: str, fence: Fence) -> None:
        """Put a shard that was sealed beside in the place of the one that stands there; durable when it returns.

        Parameters
        ----------
        reason
            Why the one that stood there goes to quarantine. At no time is neither of them there.

        Raises
        ------
        ShardNotFound
            If none is sealed beside.
        StaleEpoch, CatalogMismatch
            See the class.
        """
        key = check_key(write_id, index)
        with self._operation("replace a shard", key):
            self._admit(fence)
            self._unsealed.swap(key, reason)

    def discard(self, write_id: bytes, index: int) -> int:
        """Drop what is made beside a shard, which stays. Returns the bytes freed; 0 if there was nothing."""
        key = check_key(write_id, index)
        with self._operation("drop what was made of a shard"):
            return self._unsealed.discard(key)

    def abort(self, write_id: bytes) -> int:
        """Drop the unsealed shards of a write, and take no more of it; sealed ones stay. Returns the bytes freed.

        Raises
        ------
        InputError
            It is a write of an object's: :meth:`drop` is for it, with a fence.
        """
        self._check_no_object(write_id)
        self._unsealed.abort(write_id)
        with self._operation("abort a write"):
            return self._unsealed.drop_write(write_id)

    # -- Shards that come whole, and records

    def write(self, shards: Sequence[Whole], fence: Fence) -> list[SealReceipt | FaultsetError]:
        """Seal shards that come whole, many at once; durable when it returns. Repeats return the same.

        Returns
        -------
        list
            At each position the receipt, or why there is none: the errors of :meth:`append` and :meth:`seal`, and
            ``StoreFailure`` for those that the disk failed.
        """
        with self._operation("write shards"):
            self._admit(fence)
            self._check_room(sum(whole.block.nbytes for whole in shards if whole.block is not None))
            results: list[SealReceipt | FaultsetError] = []
            for whole, result in zip(shards, self._unsealed.write(shards), strict=True):
                if isinstance(result, int):
                    header = Header.unpack(whole.header)
                    results.append(self._receipt((header.write_id, header.index), result))
                else:
                    results.append(self._typed(result, "write shards"))
            return results

    def record(self, records: Sequence[bytes], fence: Fence) -> list[FaultsetError | None]:
        """Keep packed records; on disk when this returns, all in one go. Repeats do nothing.

        Returns
        -------
        list
            At each position None, or why the record is not kept: ``ShardNotFound`` if no sealed shard of its write
            is here (a tombstone needs none), ``InputError`` if there is another one of that object and generation,
            ``CorruptShard`` and ``UnsupportedFormat`` as :meth:`Record.unpack`.
        """
        results: list[FaultsetError | None] = [None] * len(records)
        with self._operation("keep records"), self._recording:
            self._admit(fence)
            fit: list[tuple[int, Record]] = []
            for at, raw in enumerate(records):
                try:
                    record = Record.unpack(raw)
                except (CorruptShard, UnsupportedFormat) as error:
                    results[at] = error
                    continue
                if record.kind == "put" and not self._sealed.any_of(record.write_id, record.n):
                    results[at] = ShardNotFound(self.uuid, record.write_id.hex(), None)
                else:
                    fit.append((at, record))
            kept = self._records.add([(record, records[at]) for at, record in fit])
            for (at, record), is_kept in zip(fit, kept, strict=True):
                if not is_kept:
                    results[at] = InputError(
                        f"store {self.uuid} has another record of {record.name!r}, generation {record.generation}"
                    )
        return results

    def records(self, object_ids: Sequence[bytes]) -> list[list[bytes]]:
        """The packed records of some objects, of each the newest first."""
        with self._operation("look for records"):
            return [self._records.of(object_id) for object_id in object_ids]

    def forget(self, records: Sequence[RecordKey], fence: Fence) -> int:
        """Remove records, by object id and generation; durable when it returns. Tells how many were there."""
        with self._operation("forget records"):
            self._admit(fence)
            return self._records.remove(records)

    def held(self, write_ids: Sequence[bytes]) -> list[Held]:
        """What is here of some writes: sealed shards, whatever they are like, and whether a record is."""
        for write_id in write_ids:
            check_key(write_id, 0)
        with self._operation("look for writes"):
            indices = self._sealed.of_writes(write_ids)
            recorded = self._records.writes(write_ids)
        return [Held(tuple(indices[write_id]), write_id in recorded) for write_id in write_ids]

    def unsealed(self) -> list[tuple[bytes, int]]:
        """The shards of objects that are in the making, by write id and index; not those made beside a sealed one."""
        with self._operation("list unsealed shards"):
            return self._unsealed.of_objects()

    def drop(self, shards: Sequence[tuple[bytes, int | None]], fence: Fence) -> list[int | FaultsetError]:
        """Remove shards, sealed or not, in quarantine too; durable when it returns.

        Parameters
        ----------
        shards
            Write ids and indices. Index None removes all of a write, its records too, and takes no more of it: blocks
            and records that come late are refused.

        Returns
        -------
        list
            Of each the bytes freed, 0 if it was not there; or ``StoreFailure``.
        """
        results: list[int | FaultsetError] = []
        for write_id, index in shards:
            check_key(write_id, index or 0)
        writes = [write_id for write_id, index in shards if index is None]
        with self._operation("drop shards"), self._recording:
            self._admit(fence)
            unsealed = {}
            for write_id in writes:
                self._unsealed.abort(write_id)
                unsealed[write_id] = self._unsealed.drop_write(write_id)
            freed = self._remove_writes(writes)
            keys = [(write_id, index) for write_id, index in shards if index is not None]
            freed_by_key = self._sealed.remove(keys)
            for write_id, index in shards:
                if index is None:
                    results.append(unsealed[write_id] + freed[write_id])
                else:
                    results.append(self._unsealed.drop((write_id, index)) + freed_by_key[write_id, index])
        return results

    def delete(self, write_id: bytes) -> int:
        """Remove all shards of a write, sealed or not. Returns the bytes freed; 0 if there was nothing.

        Raises
        ------
        InputError
            It is a write of an object's: :meth:`drop` is for it, with a fence.
        """
        self._check_no_object(write_id)
        with self._operation("delete a write"):
            return self._unsealed.drop_write(write_id) + self._sealed.remove_writes([write_id])[write_id]

    # -- Reading

    def read(
        self, write_id: bytes, index: int, stripe: int, first_granule: int = 0, granules: int | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Read one block of a sealed shard, or whole granules of it, with its digests; not verified here.

        Returns
        -------
        block, digests
            uint8[L], uint8[granules, 4], owned by the caller.

        Raises
        ------
        ShardNotFound
            If there is no such sealed shard.
        CorruptShard, UnsupportedFormat
            If its header, trailer or length are not sound.
        InputError
            If it has no such stripe or granules.
        """
        key = check_key(write_id, index)
        with self._operation("read a block"):
            return self._sealed.reader(key).read(stripe, first_granule, granules)

    def read_batch(self, reads: Sequence[Read]) -> Blocks:
        """:meth:`read` for many in one call, with an error in the place of what can't be read."""
        return Blocks.of([self._read(read) for read in reads])

    def _read(self, read: Read) -> Block | FaultsetError:
        try:
            return self.read(*read)
        except FaultsetError as error:
            return error

    def stat(self, write_id: bytes, index: int) -> ShardFile | None:
        """Look at a sealed shard's file: header, trailer, or why it is unusable. None if there is none."""
        key = check_key(write_id, index)
        with self._operation("look at a shard"):
            return self._sealed.inspect(key)

    def scan(self, after: bytes, limit: int) -> ScanPage:
        """Look at both ends of up to `limit` shards, in order of write id and index; those in quarantine too.

        Parameters
        ----------
        after
            ``next`` of the page before; empty for the first.
        """
        with self._operation("list shards"):
            return self._sealed.scan(after, _at_least_one(limit))

    def scan_records(self, after: bytes, limit: int) -> tuple[list[bytes], bytes]:
        """Up to `limit` packed records, by object id and generation, and what to go on with; empty at the end."""
        with self._operation("list records"):
            return self._records.after(after, _at_least_one(limit))

    def check(
        self, write_id: bytes, index: int, first_stripe: int = 0, stripes: int | None = None, beside: bool = False
    ) -> Check:
        """Read a shard's blocks and verify them: so many stripes, or all; of one that is sealed beside, if asked.

        With the last stripe, its digests are compared with what was sealed. Damage is told in the result, and so is
        a disk that fails at it.

        Raises
        ------
        ShardNotFound
            If there is no such sealed shard.
        """
        key = check_key(write_id, index)
        with self._operation("check a shard"):
            return (self._unsealed if beside else self._sealed).check(key, first_stripe, stripes)

    def quarantine(self, write_id: bytes, index: int, reason: str, fence: Fence) -> None:
        """Move a damaged shard to where it is never read from; :meth:`scan` goes on telling of it. Again does nothing.

        Raises
        ------
        ShardNotFound
            If there is no such sealed shard.
        """
        key = check_key(write_id, index)
        with self._operation("quarantine a shard"):
            self._admit(fence)
            self._sealed.quarantine(key, reason)

    # -- Inside

    def _check_no_object(self, write_id: bytes) -> None:
        """Refuse what is in a catalog: who has no fence may be one that was replaced."""
        check_key(write_id, 0)
        with self._operation("look for a write"):
            generations = self._unsealed.generations(write_id)
            for index in self._sealed.of_writes([write_id])[write_id]:
                found = self._sealed.inspect((write_id, index))
                if found is not None and found.header is not None:
                    generations.add(found.header.generation)
            recorded = bool(self._records.writes([write_id]))
        if recorded or generations - {0}:
            raise InputError(f"write {write_id.hex()} is of an object: it is dropped with a fence")

    def _remove_writes(self, write_ids: Sequence[bytes]) -> dict[bytes, int]:
        """Remove records, then shards: what is left by a crash in between says nothing, and does no harm."""
        if not write_ids:
            return {}
        try:
            self._records.remove_writes(write_ids)
        except (OSError, sqlite3.Error) as error:
            if not is_full(error):
                raise
            freed = self._sealed.remove_writes(write_ids)  # to make room for the removal of records
            self._records.remove_writes(write_ids)
            return freed
        return self._sealed.remove_writes(write_ids)

    def _sealed_before(self, key: Key, size: int, stripes: int, sha256: bytes) -> SealReceipt:
        reader = self._sealed.reader(key)
        check_same_seal(reader.header, reader.trailer, size, stripes, sha256)
        if self._home.durable:
            # The seal before may have been cut short between the rename and this.
            fsync_directory(reader.path.parent)
        return self._receipt(key, reader.file_bytes)

    def _receipt(self, key: Key, file_bytes: int) -> SealReceipt:
        return SealReceipt(self.uuid, self.place, self.region, *key, file_bytes, self._durability)


def _at_least_one(limit: int) -> int:
    if not is_int(limit) or limit < 1:
        raise InputError(f"limit is {limit!r}; expected an integer from 1")
    return limit
