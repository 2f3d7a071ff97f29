"""Every bound of the system, in one table.

A limit is checked before anything is allocated. Names end in their unit where they have one.
"""

from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20

# Geohash and fleets
GEOHASH_PRECISION_MAX: Final = 12
FLEET_NODES_MAX: Final = (1 << 32) - 1
"""Nodes that a fleet ever had: handles are dense uint32, and not given twice; the highest stands for no node."""

# Decisions
SAMPLES_WINDOW_MAX: Final = 32
"""Samples that a node's window can remember: one bit each."""
LATENCY_MS_MAX: Final = 3_600_000.0
"""What longer latencies count as in ewma and peak, so that an infinite one is forgotten in the end."""
SKETCH_MS_MIN: Final = 1.0
SKETCH_MS_MAX: Final = 16_384.0
"""Thresholds that the sketch behind p95 can tell apart."""
HOLD_SECONDS_MAX: Final = 31_536_000.0
"""A year: the longest hold-down, TTL and half-life."""
NAME_CHARACTERS_MAX: Final = 256
"""Of a fleet."""

# Codes
CODE_SHARDS_MAX: Final = 255
"""n in GF(2^8) for Cauchy constructions with a spare point."""
SPEC_BYTES_MAX: Final = 63

# Shard format v1
FORMAT_SHARDS_MAX: Final = 65_535
"""n that a shard file can name; codes other than those over GF(2^8) may have many shards."""
GRANULE_BYTES: Final = 64 * KIB
GRANULE_BYTES_MIN: Final = 4 * KIB
GRANULE_BYTES_MAX: Final = MIB
STRIPE_BYTES_MAX: Final = 64 * MIB
STRIPE_BYTES_DEFAULT: Final = 16 * MIB
STRIPE_SHARDS_BYTES_DEFAULT: Final = 2 * STRIPE_BYTES_DEFAULT
"""What all shards of a stripe hold at most, where no size was asked for: memory is bounded whatever the code."""
OBJECT_BYTES_MAX: Final = 1 << 48
OBJECT_NAME_BYTES_MAX: Final = 1024

# Stores
STORE_OPEN_FILES_MAX: Final = 128
"""Files that a store keeps open for reading, and as many for writing."""
STORE_LOCK_SECONDS: Final = 10.0
"""How long a store that starts waits for the end of the process that served its directory before."""
STORE_ABORTED_WRITES_MAX: Final = 4096
"""Aborted writes that a store remembers, to refuse blocks of theirs that come late."""
STORE_RESERVE_SHARE: Final = 0.05
"""Share of a store's disk that placement leaves free, but no more than the next."""
STORE_RESERVE_BYTES_MAX: Final = 1024 * MIB

STORE_SPARE_SHARE: Final = 0.02
"""Share of its disk that shards must leave free, so that records still find room; but no more than the next."""
STORE_SPARE_BYTES_MAX: Final = 256 * MIB
FSYNC_THREADS: Final = 8
"""Files that a process makes durable at once."""

# The catalog
INTENT_SECONDS: Final = 60.0
"""How long a write stays open without its driver saying that it goes on; then it is carried on or given up."""
DELETE_GRACE_SECONDS: Final = 86_400.0
"""How long a deleted object can be brought back."""
SUPERSEDED_GRACE_SECONDS: Final = 60.0
"""How long the shards of an older generation stay for those who read it."""
ELAPSED_SECONDS: Final = 30.0
"""How much of the catalog's time a crash of the coordinator may take back at most, while a driver is there."""
GARBAGE_CHUNK: Final = 1000
"""Generations that become garbage in one transaction."""

# Places
PLACES_PRECISION: Final = 4
"""Geohash precision of the fleet of places: cells of some 39 by 20 km, a city's data centres."""
PLACES_SECONDS: Final = 1.0
"""How long a read or a write waits for the answer about the places."""

# Orchestration
CLOCK_AHEAD_MS_MAX: Final = 60_000
"""How far an observer's clock may be ahead of the driver's."""
CLOCK_SKEW_MS_MAX: Final = 2_000
"""How far a driver's clock may be ahead of that of the machine whose servant it calls; by more, it is not believed."""
CALL_SECONDS: Final = 30.0
"""Default deadline of one call to a servant."""
SPAWN_SECONDS: Final = 120.0
"""How long a servant that has a place may take to be started and warmed."""
PLACING_SECONDS: Final = 900.0
"""How long a servant may wait for a place with room: many clouds need minutes to bring one up."""
CHECKPOINT_SECONDS: Final = 10.0
"""How old the last whole checkpoint of a range may be while it is observed: measurements since are lost with its
servant. Where a checkpoint takes long, the next one waits for twenty times as long."""
CHECKPOINT_INCREMENTS_MAX: Final = 64
"""After so many increments a whole checkpoint is due."""
STEWARD_SECONDS: Final = 1.0
"""How often a system's steward looks after its ranges; changes of state are saved, and so may be seen, as often."""
LEASE_SECONDS: Final = 10.0
"""How long a driver is the steward without asking again."""
LEASE_AHEAD_MS: Final = 3_600_000
"""A lease that ends later than this was asked for by a clock that was wrong, and counts no more."""
CENSUS_SECONDS: Final = 5.0
"""Deadline of the small calls of the steward."""
RANGE_GONE_SECONDS: Final = 2.0
"""A range whose servant is gone is replaced after so long, also if nobody asks for survivors."""
CLAIM_SECONDS: Final = 15.0
"""How long a driver may bring up the servant of a range without a word; then another one does, in the next epoch."""
RANGE_SILENT_SECONDS: Final = 15.0
"""A range that answers no census for so long is replaced, though its servant may only be cut off or starting."""
WATCH_SECONDS: Final = 0.2
"""How often a watch asks for changes while there are none."""
WATCH_EVENTS: Final = 10_000
"""How many changes a watch takes from a range at once."""
JOURNAL_BYTES_A_NODE: Final = 15
"""What the changes that a range keeps for those who watch may take up, by its nodes; a change takes some 14."""
JOURNAL_BYTES_MIN: Final = 1 << 20
"""And what they may take up in any range."""
DECIDE_MS: Final = 100
"""While observations stream in, a range decides no more often than this; and always before it answers."""
LOG_BATCHES_MAX: Final = 1024
"""Batches of a fleet that a coordinator reads one by one when it starts; more are made into one."""
LOG_ROWS_SPARE: Final = 100_000
"""Nodes by which a fleet's log may be longer than twice the fleet, before it is made into one batch."""
UPDATE_SHARE_MAX: Final = 0.25
"""Share of a fleet's nodes above which a driver gets the whole directory in place of what changed."""
REQUESTS_KEPT: Final = 4096
"""Requests that a coordinator remembers, so that a repeated one changes nothing."""
RETIRED_RANGES_MAX: Final = 64
"""Ranges of a fleet, split or merged since, whose last changes are kept for those who watch."""
RANGES_SPARED: Final = 4
"""A fleet is cut into so many ranges on the smallest cluster, and merged down to them: one fault is not all."""
RANGE_NODES_MAX: Final = 500_000
"""Nodes past which a range is split."""
RANGE_NODES_NEW: Final = 150_000
"""Nodes up to which each range of a new fleet holds: a little more than what would be merged again."""
RANGE_SAMPLES_MAX: Final = 1_000_000.0
"""Observations a second past which a range is split: about a tenth of what one actor absorbs."""
SPLIT_FILL: Final = 0.75
"""How full the parts of a split range are about, 1 being full."""
SPLIT_SECONDS: Final = 10.0
"""How long a range is past its bound before it is split."""
MERGE_FILL_MAX: Final = 0.4
"""How full a range may become by a merge."""
MERGE_SECONDS: Final = 60.0
"""How long ranges are small before they are merged."""
PACK_SECONDS: Final = 5.0
"""How often a steward looks whether ranges on fewer places would let some leave."""
START_SECONDS: Final = 5.0
"""How long a driver that connects waits for a system's state, while a coordinator that ended may still hold it."""
RESTART_SECONDS: Final = 30.0
"""How long a driver tries to start a lost coordinator again."""
FREEZE_WINDOW_SECONDS: Final = 300.0
"""Ranges that degraded within this time did so at once; an outage that lasts longer is believed."""
FREEZE_SECONDS: Final = 30.0
"""How long ejections stay frozen after each census that finds most ranges degraded."""
READY_SECONDS: Final = 2.0
"""Default deadline of the question whether a system answers."""
SURVIVORS_SECONDS: Final = 10.0
"""Default deadline of one survivors answer."""
KNOWN_SECONDS: Final = 2.0
"""How long an answer waits for the coordinator's directory at most, before the one that is known serves."""
OBSERVE_SECONDS: Final = 3.0
"""Default deadline of a report, and of finding out where a watch begins: a range that hangs must not keep the others'
nodes from being measured."""
TAIL_SECONDS: Final = 0.5
"""How long a watch waits for a range before it gives out what the others have."""
INFLIGHT_BYTES_MAX: Final = 96 * MIB
"""Stripe bytes under way at once from one driver; well inside a small object store."""
CODING_BYTES_MAX: Final = 48 * MIB
"""Bytes of the shards under way at once when files and streams are coded, which wait for one SHA-256 anyhow."""
KEPT_BYTES_MAX: Final = INFLIGHT_BYTES_MAX
"""Memory for blocks and stripes that a process keeps for the next ones; a system that is short of it may take it."""
REGION_CPUS: Final = 0.1
"""CPU share that a region actor asks for."""
APPEND_SECONDS: Final = 15.0
"""Deadline of handing a block to a store: one that is later has failed, and the write starts anew without it."""
READ_SECONDS: Final = 10.0
"""Deadline of reading one block: a store that is later counts as lost for this read."""
WRITE_SECONDS: Final = 10.0
"""How long a store may take for small shards that come whole, or for records; and a second more for each MiB."""
SEAL_SECONDS: Final = 60.0
"""Deadline of sealing a shard, which waits for the disk."""
TASK_SECONDS: Final = 120.0
"""Deadline of one task, its wait for a free CPU included."""
TASK_WAITS_SECONDS: Final = 30.0
"""How long a task may be late the first time, its wait for a free CPU included: by then an autoscaler has seen that
it waits; then it is run elsewhere, and asks for no CPU."""
CODING_CPUS: Final = 0.5
"""CPU share of a coding task: half of its time it waits for stores, and beside region actors it still fits on
a place of one CPU."""
TASK_ATTEMPTS: Final = 4
"""How often a coding task may be lost before its write or read fails."""
WRITE_ATTEMPTS: Final = 3
"""How often a write starts anew on other stores after stores were lost under it."""
STORE_INFO_SECONDS: Final = 5.0
"""Deadline of the small calls to a store; one that is later is left out of new writes."""
STORES_SECONDS: Final = 5.0
"""How old a driver's look at the stores may be when it places an object."""
STORES_START_SECONDS: Final = 10.0
"""How long a write that finds too few stores waits for those that are starting."""
STORES_START_PAUSE_SECONDS: Final = 0.5
"""How long until it looks again."""
HEDGE_SECONDS_FIRST: Final = 0.25
"""After how long a block is late, before it is known how long they take."""
HEDGE_SECONDS_MIN: Final = 0.005
"""No block is late before."""
LOST_SECONDS: Final = 1.0
"""A block that has not come after so long may also be read elsewhere where that is beyond the budget of hedges."""
HEDGE_SHARE: Final = 0.15
"""Blocks that may be read in place of late ones, as a share of those that have to be."""
DECODE_SECONDS: Final = 0.0005
"""What making rows of others takes, beside"""
DECODE_BYTES_PER_SECOND: Final = 2e9
"""so many bytes of what is read for it: other shards are read only where they come sooner by more."""
TRY_SECONDS: Final = 5.0
"""A store that was not read for so long is tried beside a read that does without it."""
TRY_READS: Final = 16
"""Blocks that are read between two such tries, at least."""
SMALL_OBJECT_BYTES: Final = MIB
"""Objects up to so many bytes are encoded where they are, and stored many in one call."""
STORE_BATCH_BYTES: Final = 8 * MIB
"""Bytes of small blocks that one call to a store carries at most."""
STORE_CALLS_MAX: Final = 4
"""Calls for blocks under way at once from one driver to one store,"""
STORE_LARGE_CALLS_MAX: Final = 2
"""and calls for blocks that are larger than"""
STORE_SHARED_BYTES_MAX: Final = MIB
"""those that several of are asked for in one call."""
BUSY_SECONDS: Final = 30.0
"""How long a write waits for others of its name that must not meet it."""
AWAY_SECONDS: Final = 2.0
"""For how long a coordinator that did not answer is not asked again by reads of objects, nor for directories that are
known."""
SILENT_MAX: Final = 2
"""How many stores may be silent while the coordinator is away, for what the others say to count: as many as the default
code bears. A write that tolerates less has it remembered by the stores first."""
LOOKUP_SECONDS: Final = 5.0
"""Deadline of a read's question to the coordinator; after it the stores are asked."""
LIST_PAGE: Final = 1000
"""Objects that are listed in one call."""

# Upkeep of objects
CARETAKER_SECONDS: Final = 5.0
"""How often a system's stores are looked at, open writes ended, and garbage dropped."""
METRICS_SECONDS: Final = 30.0
"""How often a system's objects are counted for metrics."""
REPAIR_SOON_SECONDS: Final = 30.0
"""A store that does not answer for so long is away, and not just starting: objects that would bear no further loss are
mended without it."""
REPAIR_AFTER_SECONDS: Final = 300.0
"""A store that was not reached for so long is given up: what it held is made anew elsewhere."""
REPAIR_CONCURRENT: Final = 4
"""Objects that are mended at once."""
REPAIR_QUEUE_MAX: Final = 10_000
"""Objects that are looked for before they are mended, those least safe first; then others are looked for."""
MOVE_SECONDS: Final = 900.0
"""A move of a shard by a driver that is not the caretaker is given up after so long: the driver may be gone."""
REPAIR_AGAIN_SECONDS: Final = 10.0
"""How long an object that could not be mended waits for the next attempt; twice as long each time,"""
REPAIR_AGAIN_SECONDS_MAX: Final = 600.0
"""up to this."""
REPAIR_BYTES_PER_SECOND: Final = 64.0 * MIB
"""What repair in the background reads and writes: about half of what one disk of the slower kind gives."""
SPREAD_AFTER_SECONDS: Final = 60.0
"""Other stores must take part for so long before objects are spread over them."""
SCRUB_BYTES_PER_SECOND: Final = 16.0 * MIB
"""What a deep scrub in the background reads: some 1.4 TB a day."""
SCRUB_NOTED_SECONDS: Final = 60.0
"""How long the background's scrub goes on before it notes how far it is, if no shard alone takes longer."""
SCRUB_LIGHT_SECONDS: Final = 3_600.0
"""How often a light scrub begins, which looks at both ends of every shard."""
SCRUB_DEEP_SECONDS: Final = 14 * 86_400.0
"""How often a deep scrub begins, which reads every byte."""
CHECK_BYTES: Final = 64 * MIB
"""About how much of a shard is read back in one call."""
UPKEEP_PAGE: Final = 500
"""Objects or shards that are asked for at once."""
REBUILD_PAGE: Final = 10_000
"""Shards or records that a store tells of at once when a catalog is rebuilt."""
INTERRUPT_SECONDS: Final = 10.0
"""How long what was interrupted may take to tidy up, before its caller goes on."""
SCRUB_WAITS_SECONDS: Final = 10.0
"""How long a scrub that is asked for waits for stores that don't answer at first, where their places are there."""
SCRUB_PAUSE_SECONDS: Final = 0.5
"""How often it asks them."""
DECOMMISSION_PAUSE_SECONDS: Final = 1.0
"""How long a decommission waits before it looks again at what it could not move."""
