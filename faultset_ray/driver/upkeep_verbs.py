"""The driver's verbs that look after objects, asynchronous and not."""

from __future__ import annotations

from faultset_ray.coordinator.objects import Rebuilt
from faultset_ray.driver.emptying import Decommissioned
from faultset_ray.driver.loop import Loop
from faultset_ray.driver.repairs import Repaired
from faultset_ray.driver.scrubbing import Scrubbed
from faultset_ray.driver.upkeep import SystemStatus, Upkeep
from faultset_ray.objects.intake import SoFar
from faultset_ray.telemetry import tracing


class AsyncUpkeepVerbs:
    """The part of an :class:`~faultset_ray.driver.asynchronous.AsyncDriver` that looks after objects."""

    system: str
    _upkeep: Upkeep

    async def status(self) -> SystemStatus:
        """Tell how the objects fare: how many bear how many further losses, the stores, and what is under way.

        Raises
        ------
        CatalogLost
            The stores hold objects of a catalog that the coordinator doesn't have: rebuild it.
        CoordinatorUnavailable
        """
        with tracing.verb("status", self.system) as span:
            status = await self._upkeep.status()
            span.note({"faultset.objects": status.tally.objects, "faultset.stores": len(status.stores)})
            return status

    async def repair(self, *, bytes_per_s: float | None = None, progress: SoFar | None = None) -> Repaired:
        """Mend every object that has lost shards, the least safe first, and return when there is nothing left to do.

        In the background the same is done by whichever driver is the steward; it gives a store that is away five
        minutes to come back, and this gives it none.

        Parameters
        ----------
        bytes_per_s : float, optional
            At most so many bytes are read and written a second; no limit by default.
        progress : callable, optional
            Called on the driver's loop with the bytes made so far and those to be made in all, as far as is known.

        Returns
        -------
        Repaired
            What was done; which objects could not be mended, and why; and how many wait for more stores.

        Raises
        ------
        CatalogLost, CoordinatorUnavailable
        """
        with tracing.verb("repair", self.system) as span:
            done = await self._upkeep.repair(bytes_per_s, progress)
            span.note({"faultset.objects": done.objects, "faultset.shards": done.shards, "faultset.bytes": done.bytes})
            return done

    async def scrub(
        self,
        *,
        deep: bool = False,
        drop_orphans: bool = False,
        bytes_per_s: float | None = None,
        progress: SoFar | None = None,
    ) -> Scrubbed:
        """Compare what the stores hold with what the catalog says of them. Damage that is found is queued for repair.

        Parameters
        ----------
        deep : bool
            Read every byte and verify its digest; by default only both ends of each file are looked at.
        drop_orphans : bool
            Have the stores delete shards that no object needs. Without it they are told, and stay; so they do while
            more stores don't answer (``silent``) than every object tolerates to lose.
        bytes_per_s : float, optional
            At most so many bytes are read a second; no limit by default.
        progress : callable, optional
            Called on the driver's loop with the shards looked at so far and those there are; of a deep scrub, with the
            bytes.

        Raises
        ------
        CatalogLost, CoordinatorUnavailable
        """
        with tracing.verb("scrub", self.system) as span:
            found = await self._upkeep.scrub(
                deep=deep, drop_orphans=drop_orphans, bytes_per_s=bytes_per_s, progress=progress
            )
            span.note({"faultset.stores": found.stores, "faultset.shards": found.shards, "faultset.bytes": found.bytes})
            return found

    async def decommission(
        self,
        which: str,
        *,
        bytes_per_s: float | None = None,
        timeout_s: float | None = None,
        force: bool = False,
        progress: SoFar | None = None,
    ) -> Decommissioned:
        """Empty a store, or the stores of a place, and end it, so that an autoscaler may take the place.

        Every shard is copied elsewhere, or rebuilt, and read back there before the store is let go; objects keep
        what they were promised. No store is started at the place again. A store that is gone for good is let go of in
        the same way. Cancelled, or after an error, what was moved stays there, and the store takes part as before.

        Parameters
        ----------
        which : str
            UUID of a store, or id of a place.
        bytes_per_s : float, optional
            At most so many bytes are read and written a second; no limit by default.
        timeout_s : float, optional
            Give up after so long, when the moves under way have ended; no limit by default.
        force : bool
            Of a store that does not answer and never will: rebuild what can be, as safe as the other stores make it,
            then let it go although it had shards of other objects. These stay in the catalog and in :meth:`status`,
            as what they are now, and are read and moved again should the store come back.
        progress : callable, optional
            Called on the driver's loop with the bytes moved so far and those to be moved in all, as far as is known.

        Raises
        ------
        NotEnoughPlaces
            The other stores can't keep the promise; the store takes part as before.
        StoreNotEmptied
            Too few shards of some objects are within reach, or the time is over; the store takes part as before.
        InputError
            There is no such store or place, or with ``force``, it answers.
        CatalogLost, CoordinatorUnavailable
        """
        with tracing.verb("decommission", self.system) as span:
            done = await self._upkeep.decommission(which, bytes_per_s, timeout_s, progress, force=force)
            span.note({"faultset.shards": done.shards, "faultset.bytes": done.bytes})
            return done

    async def cancel_decommission(self, which: str) -> tuple[str, ...]:
        """Have a store that is being emptied, or those of a place, take part again; it undoes :meth:`decommission`.

        It is for one whose driver was killed, which leaves it to be emptied in the background; where a driver is at it
        still, that one's call ends with ``StoreNotEmptied``. What was moved stays where it is.

        Parameters
        ----------
        which : str
            UUID of a store, or id of a place.

        Returns
        -------
        tuple of str
            The stores that take part again; none where none was being emptied.

        Raises
        ------
        InputError
            There is no such store or place: one that was let go of is no store any more.
        CatalogLost, CoordinatorUnavailable
        """
        with tracing.verb("cancel_decommission", self.system):
            return await self._upkeep.cancel_decommission(which)

    async def rebuild(self, *, progress: SoFar | None = None) -> Rebuilt:
        """Make a lost catalog again from what the stores hold; nothing on them is changed.

        Parameters
        ----------
        progress : callable, optional
            Called on the driver's loop with the shards looked at so far, and those there are.

        Raises
        ------
        InputError
            The catalog is not lost: it has objects.
        NotEnoughPlaces
            No store answers.
        CoordinatorUnavailable
        """
        with tracing.verb("rebuild", self.system) as span:
            rebuilt = await self._upkeep.rebuild(progress)
            span.note({"faultset.objects": rebuilt.objects})
            return rebuilt


class UpkeepVerbs:
    """The same of a :class:`~faultset_ray.driver.sync.Driver`."""

    _core: AsyncUpkeepVerbs
    _loop: Loop

    def status(self) -> SystemStatus:
        """Tell how the objects fare."""
        return self._loop.run(self._core.status())

    def repair(self, *, bytes_per_s: float | None = None, progress: SoFar | None = None) -> Repaired:
        """Mend every object that has lost shards, the least safe first."""
        return self._loop.run(self._core.repair(bytes_per_s=bytes_per_s, progress=progress))

    def scrub(
        self,
        *,
        deep: bool = False,
        drop_orphans: bool = False,
        bytes_per_s: float | None = None,
        progress: SoFar | None = None,
    ) -> Scrubbed:
        """Compare what the stores hold with what the catalog says of them."""
        return self._loop.run(
            self._core.scrub(deep=deep, drop_orphans=drop_orphans, bytes_per_s=bytes_per_s, progress=progress)
        )

    def decommission(
        self,
        which: str,
        *,
        bytes_per_s: float | None = None,
        timeout_s: float | None = None,
        force: bool = False,
        progress: SoFar | None = None,
    ) -> Decommissioned:
        """Empty a store, or the stores of a place, and end it."""
        return self._loop.run(
            self._core.decommission(which, bytes_per_s=bytes_per_s, timeout_s=timeout_s, force=force, progress=progress)
        )

    def cancel_decommission(self, which: str) -> tuple[str, ...]:
        """Have a store that is being emptied, or those of a place, take part again."""
        return self._loop.run(self._core.cancel_decommission(which))

    def rebuild(self, *, progress: SoFar | None = None) -> Rebuilt:
        """Make a lost catalog again from what the stores hold."""
        return self._loop.run(self._core.rebuild(progress=progress))
