"""Every error of faultset-ray, one tree::

    FaultsetError
    ├── InputError (ValueError)              exit 2
    │   ├── EmptyNodesError
    │   ├── LengthMismatchError
    │   ├── MissingColumnError
    │   ├── NegativeThresholdError
    │   ├── InvalidNodeError
    │   ├── DuplicateIdError
    │   ├── InvalidGeohashError
    │   ├── InvalidPolicy
    │   ├── UnknownPolicyField
    │   ├── InvalidConfig
    │   ├── InvalidCodeSpec
    │   ├── LimitExceeded
    │   ├── InvalidObjectName
    │   ├── UnknownFleet
    │   ├── UnknownSystem
    │   ├── UnknownNode
    │   ├── StoresWouldBeLost
    │   └── UnsupportedOperation
    ├── NoSurvivorsError (ValueError)        exit 1
    ├── ObjectNotFound (LookupError)         exit 2
    ├── PreconditionFailed                   exit 2
    ├── CodingError (ValueError)             exit 3
    │   ├── NotEnoughShards
    │   ├── ShardSizeError
    │   ├── InvalidShardIndex
    │   ├── CorruptShard
    │   ├── UnsupportedFormat
    │   ├── IncompleteShard
    │   ├── ShardNotFound
    │   ├── DigestMismatch
    │   └── AmbiguousObjectError
    └── ClusterError (RuntimeError)          exit 5
        ├── AuthError
        ├── ClusterUnreachable
        ├── PlaceUnreachable
        ├── StoresLost
        ├── CallTimeout
        ├── RegionTimeout
        ├── NotEnoughPlaces
        ├── StoreFailure
        ├── VersionSkew
        ├── StaleEpoch
        ├── HistoryLost
        ├── OtherHistory
        ├── CoordinatorUnavailable
        ├── StateInUse
        ├── UnsupportedState
        ├── StateFailure
        ├── WriteInProgress
        ├── StoreInUse
        ├── StoreNotEmptied
        ├── WriteAborted
        ├── CatalogLost
        ├── CatalogMismatch
        ├── BackendClosed
        ├── JobLost
        ├── NotServed
        └── RemoteFailure

Each class has a stable :attr:`~FaultsetError.code`, the process exit code that a command ends with,
and its numbers as attributes. Constructors pass all their arguments on positionally and the message
is made in ``__str__``, so that an error arrives through Ray (or any pickle) as its own class.
"""

from faultset_ray.errors.base import FaultsetError
from faultset_ray.errors.cluster import (
    AuthError,
    BackendClosed,
    CallTimeout,
    ClusterError,
    ClusterUnreachable,
    CoordinatorUnavailable,
    HistoryLost,
    JobLost,
    NotEnoughPlaces,
    NotServed,
    OtherHistory,
    PlaceUnreachable,
    RegionTimeout,
    RemoteFailure,
    StaleEpoch,
    StateFailure,
    StateInUse,
    StoreFailure,
    StoresLost,
    UnsupportedState,
    VersionSkew,
)
from faultset_ray.errors.coding import (
    AmbiguousObjectError,
    CodingError,
    CorruptShard,
    DigestMismatch,
    IncompleteShard,
    InvalidShardIndex,
    NotEnoughShards,
    ShardNotFound,
    ShardSizeError,
    UnsupportedFormat,
)
from faultset_ray.errors.inputs import (
    DuplicateIdError,
    EmptyNodesError,
    InputError,
    InvalidCodeSpec,
    InvalidConfig,
    InvalidGeohashError,
    InvalidNodeError,
    InvalidPolicy,
    LengthMismatchError,
    LimitExceeded,
    MissingColumnError,
    NegativeThresholdError,
    NoSurvivorsError,
    UnknownFleet,
    UnknownNode,
    UnknownPolicyField,
    UnknownSystem,
    UnsupportedOperation,
)
from faultset_ray.errors.objects import (
    CatalogLost,
    CatalogMismatch,
    InvalidObjectName,
    ObjectNotFound,
    PreconditionFailed,
    StoreInUse,
    StoreNotEmptied,
    StoresWouldBeLost,
    WriteAborted,
    WriteInProgress,
)
from faultset_ray.errors.warned import OpenClusterWarning

__all__ = [
    "AmbiguousObjectError",
    "AuthError",
    "BackendClosed",
    "CallTimeout",
    "CatalogLost",
    "CatalogMismatch",
    "ClusterError",
    "ClusterUnreachable",
    "CodingError",
    "CoordinatorUnavailable",
    "CorruptShard",
    "DigestMismatch",
    "DuplicateIdError",
    "EmptyNodesError",
    "FaultsetError",
    "HistoryLost",
    "IncompleteShard",
    "InputError",
    "InvalidCodeSpec",
    "InvalidConfig",
    "InvalidGeohashError",
    "InvalidNodeError",
    "InvalidObjectName",
    "InvalidPolicy",
    "InvalidShardIndex",
    "JobLost",
    "LengthMismatchError",
    "LimitExceeded",
    "MissingColumnError",
    "NegativeThresholdError",
    "NoSurvivorsError",
    "NotEnoughPlaces",
    "NotEnoughShards",
    "NotServed",
    "ObjectNotFound",
    "OpenClusterWarning",
    "OtherHistory",
    "PlaceUnreachable",
    "PreconditionFailed",
    "RegionTimeout",
    "RemoteFailure",
    "ShardNotFound",
    "ShardSizeError",
    "StaleEpoch",
    "StateFailure",
    "StateInUse",
    "StoreFailure",
    "StoreInUse",
    "StoreNotEmptied",
    "StoresLost",
    "StoresWouldBeLost",
    "UnknownFleet",
    "UnknownNode",
    "UnknownPolicyField",
    "UnknownSystem",
    "UnsupportedFormat",
    "UnsupportedOperation",
    "UnsupportedState",
    "VersionSkew",
    "WriteAborted",
    "WriteInProgress",
]
