"""What goes wrong with objects and the names they go by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from faultset_ray.errors.base import FaultsetError, listed
from faultset_ray.errors.cluster import ClusterError
from faultset_ray.errors.inputs import InputError


class InvalidObjectName(InputError):
    """Raised when a text can't be the name of an object."""

    code = "invalid_object_name"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"object name {self.name[:80]!r} {self.reason}"


class ObjectNotFound(FaultsetError, LookupError):
    """Raised when there is no object of a name, or it was deleted."""

    code = "object_not_found"
    exit_code = 2

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"there is no object {self.name!r}"


class PreconditionFailed(FaultsetError):
    """Raised when an object is not of the generation that a write was to replace; nothing was changed."""

    code = "precondition_failed"
    exit_code = 2

    def __init__(self, name: str, expected: int | None, found: int | None) -> None:
        super().__init__(name, expected, found)
        self.name = name
        self.expected = expected
        """A generation; None where there was to be no object."""
        self.found = found

    def __str__(self) -> str:
        def told(generation: int | None) -> str:
            return "absent" if generation is None else f"generation {generation}"

        return f"object {self.name!r} is {told(self.found)}, and was to be {told(self.expected)}; nothing was changed"


class WriteInProgress(ClusterError):
    """Raised when a write with a condition meets another write of the same name, or is met by one."""

    code = "write_in_progress"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"object {self.name!r} is being written or one of its shards moved, and one of the two has to be alone; "
            "try again"
        )


class StoreInUse(ClusterError):
    """Raised when a store is to be let go of that objects still need; it stays what it was."""

    code = "store_in_use"

    def __init__(self, store: str, name: str) -> None:
        super().__init__(store, name)
        self.store = store
        self.name = name
        """Of one of the objects."""

    def __str__(self) -> str:
        return f"store {self.store} can't be let go of: object {self.name!r}, at least, needs it; decommission it"


class StoreNotEmptied(ClusterError):
    """Raised when stores that were to be let go of could not be emptied; they take part as before."""

    code = "store_not_emptied"

    def __init__(self, stores: Iterable[str], objects: Mapping[str, str], reason: str) -> None:
        stores, objects = list(stores), dict(objects)
        super().__init__(stores, objects, reason)
        self.stores = stores
        self.objects = objects
        """By name, why the shards of an object are still there; of very many, some."""
        self.reason = reason

    def __str__(self) -> str:
        names = listed(map(repr, self.objects)) if self.objects else "none known"
        return (
            f"stores {listed(self.stores)} could not be emptied, and take part as before; "
            f"{len(self.objects)} objects have shards there ({names}): {self.reason}"
        )


class WriteAborted(ClusterError):
    """Raised when a write was ended by others before its driver could commit it."""

    code = "write_aborted"

    def __init__(self, write: str, name: str = "", left_nothing: bool = True) -> None:
        super().__init__(write, name, left_nothing)
        self.write = write
        """The write id in hex."""
        self.name = name
        """Of the object, where it is known."""
        self.left_nothing = left_nothing
        """False where too much time has gone by to tell: it may have been carried on, and replaced since."""

    def __str__(self) -> str:
        called = f"write {self.write} of {self.name!r}" if self.name else f"write {self.write}"
        if self.left_nothing:
            return f"{called} was given up before it was committed, and left nothing; write anew"
        return (
            f"{called} was ended while its driver stood still, and is not remembered any more: it left nothing, or was "
            "carried on and replaced since; look at what there is now before you write anew"
        )


class CatalogLost(ClusterError):
    """Raised when a system's stores hold objects of a catalog that its coordinator doesn't have, or has a copy of."""

    code = "catalog_lost"

    def __init__(self, system: str, stores: Iterable[str], newest: int = 0, given: int = 0) -> None:
        stores = list(stores)
        super().__init__(system, stores, newest, given)
        self.system = system
        self.stores = stores
        self.newest = newest
        """The highest generation on the stores, of a copy that is older than they are; else 0."""
        self.given = given
        """The last generation that the copy knows to have been given."""

    def __str__(self) -> str:
        if self.newest:
            return (
                f"the catalog of system {self.system!r} is older than its stores: {len(self.stores)} of them "
                f"({listed(self.stores)}) know of epoch {self.newest >> 32}, generation {self.newest}, it of epoch "
                f"{self.given >> 32}, generation {self.given}; end the system, put the newest copy of its directory "
                "back, or remove the directory and run `faultset rebuild`"
            )
        return (
            f"the catalog of system {self.system!r} is lost: {len(self.stores)} stores hold objects of another one "
            f"({listed(self.stores)}); run `faultset rebuild`"
        )


class CatalogMismatch(ClusterError):
    """Raised when a store belongs to another catalog than who calls it; it was not touched."""

    code = "catalog_mismatch"

    def __init__(self, store: str, theirs: str, ours: str) -> None:
        super().__init__(store, theirs, ours)
        self.store = store
        self.theirs = theirs
        self.ours = ours

    def __str__(self) -> str:
        return f"store {self.store} belongs to catalog {self.theirs}, not to {self.ours}; it was not touched"


class StoresWouldBeLost(InputError):
    """Raised when a system is to end whose stores would take their shards with them; nothing was ended."""

    code = "stores_would_be_lost"

    def __init__(self, system: str, shards: Mapping[str, int]) -> None:
        shards = dict(shards)
        super().__init__(system, shards)
        self.system = system
        self.shards = shards
        """How many each store holds, by place."""

    def __str__(self) -> str:
        return (
            f"{len(self.shards)} stores of system {self.system!r} have no directory, and {sum(self.shards.values()):,} "
            f"shards would go with them ({listed(self.shards)}): set FAULTSET_STORE_DIR there and let objects be "
            "mended, or end it by force"
        )
