"""What goes wrong between machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from faultset_ray.errors.base import FaultsetError, listed, without_login


class ClusterError(FaultsetError, RuntimeError):
    """Raised when the cluster, or a part of it, did not do what was asked."""

    code = "cluster_error"
    exit_code = 5


class AuthError(ClusterError):
    """Raised when the Ray cluster refuses this client's token, or it has none."""

    code = "auth"

    def __init__(self, address: str, reason: str) -> None:
        address, reason = without_login(address), without_login(reason)
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"Ray cluster at {self.address} refused this client: {self.reason}; set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH (or RAY_AUTH_TOKEN) to the token that the cluster was started with"
        )


class ClusterUnreachable(ClusterError):
    """Raised when no Ray cluster answers at an address."""

    code = "cluster_unreachable"

    def __init__(self, address: str, reason: str) -> None:
        address, reason = without_login(address), without_login(reason)
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return f"no Ray cluster answers at {self.address}: {self.reason}"


class PlaceUnreachable(ClusterError):
    """Raised when a servant can't be called: it, its process or its place is gone."""

    code = "place_unreachable"

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(target, reason)
        self.target = target
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.target} is unreachable: {self.reason}"


class StoresLost(ClusterError):
    """Raised when stores failed while an object was written to them; nothing of it was acknowledged."""

    code = "stores_lost"

    def __init__(self, failed: Mapping[str, str]) -> None:
        super().__init__(failed)
        self.failed = dict(failed)
        """Why, by the store's UUID."""

    def __str__(self) -> str:
        return "stores failed during a write: " + "; ".join(f"{uuid}: {why}" for uuid, why in self.failed.items())


class CallTimeout(ClusterError):
    """Raised when a call did not answer within its deadline; it may still take effect."""

    code = "call_timeout"

    def __init__(self, target: str, method: str, seconds: float) -> None:
        super().__init__(target, method, seconds)
        self.target = target
        self.method = method
        self.seconds = seconds

    def __str__(self) -> str:
        return f"{self.target}.{self.method} did not answer within {self.seconds:g} s"


class RegionTimeout(ClusterError):
    """Raised when regions did not answer and the caller asked for a whole answer.

    ``seconds`` is how long was waited for them: less than the deadline where it was known sooner that they don't
    answer. ``reason`` says more, or nothing.
    """

    code = "region_timeout"

    def __init__(self, missing: Iterable[str], regions: int, seconds: float, reason: str = "") -> None:
        missing = list(missing)
        super().__init__(missing, regions, seconds, reason)
        self.missing = missing
        self.regions = regions
        self.seconds = seconds
        self.reason = reason

    def __str__(self) -> str:
        told = (
            f"{len(self.missing)} of {self.regions} regions did not answer within {self.seconds:g} s: "
            f"{listed(self.missing)}"
        )
        return f"{told}; {self.reason}" if self.reason else told


class NotEnoughPlaces(ClusterError):
    """Raised when fewer places can hold shards than was asked for."""

    code = "not_enough_places"

    def __init__(self, have: int, need: int, reason: str) -> None:
        super().__init__(have, need, reason)
        self.have = have
        self.need = need
        self.reason = reason

    def __str__(self) -> str:
        return f"have {self.have} places, need {self.need}: {self.reason}"


class StoreFailure(ClusterError):
    """Raised when a store's disk refused an operation; the shard in hand was dropped whole."""

    code = "store_failure"

    def __init__(self, store: str, operation: str, errno_name: str) -> None:
        super().__init__(store, operation, errno_name)
        self.store = store
        self.operation = operation
        self.errno_name = errno_name

    def __str__(self) -> str:
        return f"store {self.store} failed to {self.operation}: {self.errno_name}"


class VersionSkew(ClusterError):
    """Raised when the code on the other side is of another version."""

    code = "version_skew"

    def __init__(self, target: str, theirs: str, ours: str) -> None:
        super().__init__(target, theirs, ours)
        self.target = target
        self.theirs = theirs
        self.ours = ours

    def __str__(self) -> str:
        return (
            f"{self.target} runs faultset-ray {self.theirs}, this driver {self.ours}; install one version "
            "everywhere, or shut the system down and start it anew"
        )


class StaleEpoch(ClusterError):
    """Raised when a servant that was replaced is called, or calls."""

    code = "stale_epoch"

    def __init__(self, target: str, theirs: int, ours: int) -> None:
        super().__init__(target, theirs, ours)
        self.target = target
        self.theirs = theirs
        self.ours = ours

    def __str__(self) -> str:
        return f"{self.target} is of epoch {self.theirs}, the current epoch is {self.ours}"


class HistoryLost(ClusterError):
    """Raised when changes that were asked for are older than what is kept of them, or never were."""

    code = "history_lost"

    def __init__(self, since: int, oldest: int, newest: int | None = None) -> None:
        super().__init__(since, oldest, newest)
        self.since = since
        self.oldest = oldest
        self.newest = newest
        """Where the range is, if it never was at ``since``; else None."""

    def __str__(self) -> str:
        if self.newest is not None:
            return (
                f"a range that is at version {self.newest} now never was at version {self.since} of that epoch: the "
                "position is one of another fleet, or of an older system of this name; ask for survivors, and watch "
                "since the versions of that answer"
            )
        kept = f", only those since {self.oldest}" if self.oldest >= 0 else ""
        return (
            f"changes since version {self.since} are no longer kept{kept}; ask for survivors, and watch since "
            "the versions of that answer"
        )


class OtherHistory(ClusterError):
    """Raised when changes are asked for since versions of another history than the fleet's."""

    code = "other_history"

    def __init__(self, fleet: str, theirs: str, ours: str) -> None:
        super().__init__(fleet, theirs, ours)
        self.fleet = fleet
        self.theirs = theirs
        """The birth of the history that the versions are of."""
        self.ours = ours
        """That of the fleet's."""

    def __str__(self) -> str:
        return (
            f"the position is of a history born {self.theirs}, that of fleet {self.fleet!r} was born {self.ours}: the "
            "fleet was lost and registered anew, or the position is another one's, so their numbers can't be compared. "
            "Take the fleet's handles anew, ask for survivors, and watch since the versions of that answer; of "
            "`faultset watch --position`, delete the file"
        )


class CoordinatorUnavailable(ClusterError):
    """Raised when a system's coordinator can't be reached."""

    code = "coordinator_unavailable"

    def __init__(self, system: str, reason: str) -> None:
        super().__init__(system, reason)
        self.system = system
        self.reason = reason

    def __str__(self) -> str:
        return f"the coordinator of system {self.system!r} is unavailable: {self.reason}"


class StateInUse(ClusterError):
    """Raised when the state of a system is served by another process."""

    code = "state_in_use"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} is served by another process; a system has one coordinator"


class UnsupportedState(ClusterError):
    """Raised when a later version of faultset-ray wrote the state of a system."""

    code = "unsupported_state"

    def __init__(self, path: str, theirs: int, ours: int) -> None:
        super().__init__(path, theirs, ours)
        self.path = path
        self.theirs = theirs
        self.ours = ours

    def __str__(self) -> str:
        return (
            f"{self.path} has schema {self.theirs}, this version of faultset-ray reads up to {self.ours}; it was not "
            "touched: run the version that wrote it, or a later one"
        )


class StateFailure(ClusterError):
    """Raised when the state of a system can't be read or written; nothing was acknowledged."""

    code = "state_failure"

    def __init__(self, path: str, operation: str, reason: str) -> None:
        super().__init__(path, operation, reason)
        self.path = path
        self.operation = operation
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} could not {self.operation}: {self.reason}"


class BackendClosed(ClusterError):
    """Raised when a closed driver or backend is used."""

    code = "closed"

    def __str__(self) -> str:
        return "this driver is closed; connect again"


class NotServed(ClusterError):
    """Raised when the HTTP API did not come up on Ray Serve; what was begun of it was ended."""

    code = "not_served"

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return f"nothing is served at {self.address}: {self.reason}"


class RemoteFailure(ClusterError):
    """Raised when code on the other side failed with an error that is not ours."""

    code = "remote_failure"
    exit_code = 70

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(target, reason)
        self.target = target
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.target} failed: {self.reason}"


class JobLost(ClusterError):
    """Raised when a submitted job ended without an exit code of its own: stopped, never begun, or its machine gone."""

    code = "job_lost"

    def __init__(self, submission_id: str, status: str, reason: str) -> None:
        super().__init__(submission_id, status, reason)
        self.submission_id = submission_id
        self.status = status
        """``STOPPED`` or ``FAILED``."""
        self.reason = reason

    def __str__(self) -> str:
        how = "was stopped" if self.status == "STOPPED" else "ended without an exit code"
        return f"job {self.submission_id} {how}: {self.reason or 'Ray does not say why'}"
