"""Every event that there is; what is not here is not told. ``docs/logging.md`` is made of it."""

from __future__ import annotations

from faultset_ray.telemetry.event import DEBUG, ERROR, INFO, WARNING, Event

# -- Settings

SETTING_UNKNOWN = Event(
    "setting_unknown",
    WARNING,
    ("reason",),
    "A variable looks like a setting and is none.",
    "Correct its name, or take it away.",
)
SETTING_UNUSABLE = Event(
    "setting_unusable",
    WARNING,
    ("error",),
    "At a place, a setting that is not needed there can't be used.",
    "Correct the file or variable.",
)

# -- Command line and traces

TRACE_TORN = Event("trace_torn", WARNING, ("path", "lines"), "A trace ends within a line, which was passed over.")
RECORDING_TORN = Event(
    "recording_torn", WARNING, ("path",), "A recording goes on in a file that ends within a line, which was cut off."
)
RECORDING_ENDED = Event(
    "recording_ended",
    ERROR,
    ("path", "error"),
    "A recording can't be written any further, and ends.",
    "Look at the disk; begin another.",
)
RECORDING_UNLOCKED = Event(
    "recording_unlocked",
    WARNING,
    ("path", "error"),
    "The file of a recording can't be locked.",
    "Make sure that no other recording writes to it.",
)

# -- Coordinator

COORDINATOR_STARTED = Event(
    "coordinator_started", INFO, ("system", "epoch", "path"), "A coordinator serves a system's state."
)
COORDINATOR_FENCED = Event(
    "coordinator_fenced",
    ERROR,
    ("epoch", "seen"),
    "Another coordinator serves this state since: this one refuses to go on.",
    "Make sure that one head node alone has the state directory.",
)
COORDINATOR_GONE = Event(
    "coordinator_gone",
    WARNING,
    ("system", "error"),
    "A driver found the coordinator gone, and starts it again.",
    "Look why its node or process ended.",
)
STORE_SILENT_AT_END = Event(
    "store_silent_at_end",
    WARNING,
    ("place", "error"),
    "A system ends, and one of its stores does not answer; it is ended all the same.",
    "Its files stay where they are; look at its machine before the system comes up again.",
)
SYSTEM_NOT_IN_ORDER = Event(
    "system_not_in_order",
    WARNING,
    ("system", "error"),
    "A system could not be shut down in order: it was ended as it was, and newer observations may be lost.",
    "Nothing that was acknowledged is lost; what was under way is settled when it comes up again.",
)
WATCH_WAITS = Event(
    "watch_waits",
    WARNING,
    ("fleet", "error"),
    "A watch waits for the coordinator, which does not answer.",
    "Look why its node or process is away; nothing is lost meanwhile.",
)
WATCH_GOES_ON = Event("watch_goes_on", WARNING, ("fleet",), "The coordinator is back for a watch that waited for it.")
COORDINATOR_RESTORED = Event("coordinator_restored", WARNING, ("system", "epoch"), "The coordinator serves again.")
FLEET_LOG_LONG = Event(
    "fleet_log_long",
    WARNING,
    ("fleet", "error"),
    "The log of a fleet's nodes could not be made shorter.",
    "Look at the disk of the state directory.",
)
CHECKPOINT_UNREADABLE = Event(
    "checkpoint_unreadable",
    ERROR,
    ("range", "error"),
    "What a range's servant had saved can't be read: its nodes are unknown until they are measured again.",
    "Look at the disk of the state directory.",
)
CLOCK_AHEAD = Event(
    "clock_ahead",
    WARNING,
    ("ahead_ms",),
    "This driver's clock is ahead of its regions', and not believed.",
    "Set the clock.",
)

# -- Fleets and regions

NODES_CHANGED = Event(
    "nodes_changed",
    INFO,
    ("epoch", "changes"),
    "Nodes of a range changed: ejected (over_threshold, failures, relapse), back (recovered), and so on, by rule.",
)
REGIONS_CHANGED = Event(
    "regions_changed",
    WARNING,
    ("epoch", "changes"),
    "Regions of a range are short of survivors or in panic, ejections are frozen; or that is over, by rule.",
    "See `faultset regions`.",
)
RANGE_SILENT = Event(
    "range_silent",
    WARNING,
    ("range", "fleet", "error"),
    "A range does not answer.",
    "If it stays so, look at the Ray node that it is on.",
)
RANGE_LOST = Event(
    "range_lost",
    WARNING,
    ("range", "fleet", "error"),
    "A range's servant is gone, and is replaced.",
    "Look why its node or process ended.",
)
RANGE_RESTORED = Event(
    "range_restored", INFO, ("range", "fleet", "epoch"), "A range has a new servant, which goes on from what was saved."
)
RANGE_NOT_RESTORED = Event(
    "range_not_restored",
    WARNING,
    ("range", "fleet", "error"),
    "A range could not be brought back yet.",
    "Give Ray room for its actor.",
)
RANGE_NOT_SAVED = Event("range_not_saved", INFO, ("range", "fleet", "error"), "A range's state is saved later.")
NODES_WAIT = Event(
    "nodes_wait", INFO, ("range", "fleet", "error"), "Nodes that left a range wait there for the one that they go to."
)
RANGES_MOVED = Event("ranges_moved", INFO, ("ranges", "fleet", "to"), "Ranges gave way to others.")
RANGES_STAY = Event(
    "ranges_stay", WARNING, ("ranges", "fleet", "error"), "Ranges that were to be cut anew stay as they are."
)
RANGE_SERVANT_ENDED = Event(
    "range_servant_ended", INFO, ("servant",), "A servant that is no longer a range's was ended."
)
NOT_SAVED = Event(
    "not_saved", WARNING, ("error",), "A driver that ends could not save all ranges: newer observations may be lost."
)
STEWARD_CUT_SHORT = Event(
    "steward_cut_short", INFO, ("error",), "A round of the background work on ranges was cut short."
)
LATE_WORK_FAILED = Event("late_work_failed", INFO, ("error",), "What went on behind a caller's deadline failed.")

# -- Places and probes

PLACE_SEEN = Event("place_seen", INFO, ("place", "reached"), "A place is reached, or no longer, as the others judge.")
PLACE_UNPLACED = Event(
    "place_unplaced",
    WARNING,
    ("place", "error", "cell"),
    "A place's labels don't say where it is.",
    "Correct the node's label.",
)
PROBE_FAILED = Event("probe_failed", WARNING, ("error",), "A probe of a place failed.")
PROBES_UNTOLD = Event("probes_untold", WARNING, ("places", "error"), "What was found of places could not be told.")
PROBER_MISSING = Event(
    "prober_missing", WARNING, ("place", "error"), "A place has no prober.", "Give Ray room for its actor."
)
PROBING_ENDED = Event("probing_ended", ERROR, (), "Probing ended by a fault of ours.", "Report it.")
SERVERS_UNKNOWN = Event(
    "servers_unknown", WARNING, ("place", "servers", "error"), "A place does not say how servers are."
)
SERVERS_KNOWN = Event("servers_known", INFO, ("place",), "A place says again how servers are.")

# -- Stores

STORE_ATTACHED = Event("store_attached", INFO, ("store", "place", "path", "durability"), "A store serves a directory.")
STORE_TEMPORARY = Event(
    "store_temporary",
    WARNING,
    ("place", "path"),
    "A store keeps its shards only while it runs.",
    "Set `FAULTSET_STORE_DIR` at the place.",
)
STORE_FULL = Event(
    "store_full",
    ERROR,
    ("store", "what", "error"),
    "A store has no room left: it refuses shards.",
    "Add stores or space; see `faultset status`.",
)
STORE_FAILED = Event(
    "store_failed", ERROR, ("store", "what", "error"), "A store's disk failed an operation.", "Look at the disk."
)
STORE_SILENT = Event(
    "store_silent", WARNING, ("error",), "A store does not answer.", "Look at the Ray node that it is on."
)
STORES_AWAY = Event(
    "stores_away",
    WARNING,
    ("count", "stores"),
    "Stores did not answer for so long that they count as away.",
    "Start them again; after `health.repair.after_s` they are given up.",
)
STORES_GIVEN_UP = Event(
    "stores_given_up", WARNING, ("count", "stores"), "Stores are given up: what they held is made anew elsewhere."
)
STORES_BACK = Event("stores_back", WARNING, ("count", "stores"), "Stores that were away are back.")
STORE_RETURNED = Event(
    "store_returned",
    WARNING,
    ("store", "shards", "bytes", "records"),
    "A store that was let go of takes part again; what it had held before was dropped.",
)
STORE_RETURN_DELAYED = Event(
    "store_return_delayed", WARNING, ("store", "error"), "A store is back, and takes part later."
)
STORE_RETIRED_UNTOLD = Event(
    "store_retired_untold", INFO, ("store", "error"), "A store is told later which stores were let go of."
)
STORES_LET_GO = Event("stores_let_go", WARNING, ("stores", "objects", "shards"), "Stores were emptied and let go.")
STORE_STILL_EMPTIED = Event(
    "store_still_emptied", WARNING, ("store", "error"), "A store goes on being emptied, since it can't be told to stop."
)
STORE_LOCKED = Event(
    "store_locked", INFO, ("path",), "A store's directory is still locked by a process that ends; it is waited for."
)
STORE_LEFT_OVER = Event(
    "store_left_over", WARNING, ("path",), "A store's directory is left over from a private system, and was removed."
)
STORE_LEFT_ALONE = Event(
    "store_left_alone",
    WARNING,
    ("path", "reason"),
    "A directory where a store's might be is left alone.",
    "See whether it is to be one.",
)
STRAY_SET_ASIDE = Event(
    "stray_set_aside", WARNING, ("path", "aside"), "A directory stood where no store makes one, and was moved aside."
)
RETIRED_LIST_DAMAGED = Event(
    "retired_list_damaged",
    ERROR,
    ("path", "error"),
    "The list of stores that were let go of is damaged, and is told anew.",
    "Look at the disk.",
)
RECORDS_DAMAGED = Event(
    "records_damaged",
    ERROR,
    ("path", "error"),
    "A store's records are damaged: they go to quarantine.",
    "Look at the disk; see `faultset scrub`.",
)
SHARD_DROPPED = Event(
    "shard_dropped",
    WARNING,
    ("what", "error"),
    "A shard is dropped, since its blocks could not be written.",
    "Look at the disk.",
)
STORES_UNLABELLED = Event(
    "stores_unlabelled",
    WARNING,
    ("reason",),
    "No place is labelled as one for stores: all may hold one.",
    "Label those that are to.",
)
STORES_FLEETING = Event(
    "stores_fleeting",
    WARNING,
    ("reason",),
    "Some stores end with their processes, and their shards with them.",
    "Set `FAULTSET_STORE_DIR` at the places.",
)
STORES_ASKED_LATER = Event(
    "stores_asked_later", INFO, ("error",), "Which stores there are is asked with the next read."
)

# -- Objects

WRITE_WITHOUT_STORES = Event(
    "write_without_stores", WARNING, ("object", "stores", "error"), "A write goes on without stores that failed."
)
STRIPE_SENT_AGAIN = Event("stripe_sent_again", WARNING, ("error",), "A stripe is sent again.")
TASK_RUN_AGAIN = Event("task_run_again", INFO, ("reason",), "A task was lost or late, and is run again.")
PUT_NOT_DURABLE = Event(
    "put_not_durable", WARNING, ("object",), "An object was stored with durability none, as was asked."
)
PUT_FRAGILE = Event(
    "put_fragile",
    WARNING,
    ("object", "code", "reason"),
    "An object may be lost with any one store.",
    "Name a code that bears losses.",
)
CATALOG_IN_MEMORY = Event(
    "catalog_in_memory",
    WARNING,
    ("system", "reason"),
    "A system's catalog ends with its process.",
    "Name a state directory.",
)
CATALOG_AWAY = Event(
    "catalog_away", WARNING, ("error",), "The coordinator does not answer a read: the stores are asked."
)
TOLERANCE_LOWERED = Event(
    "tolerance_lowered", WARNING, ("tolerate", "reason"), "A system has its first object that bears so few losses."
)
WRITE_STAYS_OPEN = Event(
    "write_stays_open",
    WARNING,
    ("write_id", "object", "reason"),
    "A write of a driver that is gone can't be ended yet.",
    "Bring its stores back.",
)
WRITE_GIVEN_UP = Event(
    "write_given_up",
    WARNING,
    ("write_id", "object"),
    "A write of a driver that is gone was undone: it was never acknowledged.",
)
WRITE_ROLLED_FORWARD = Event(
    "write_rolled_forward", WARNING, ("write_id", "object"), "A write of a driver that is gone was completed."
)
WRITE_NOT_WITHDRAWN = Event(
    "write_not_withdrawn", WARNING, ("write_id", "error"), "A write that failed is left to the background to end."
)
WRITES_NOT_RENEWED = Event(
    "writes_not_renewed", WARNING, ("count", "error"), "The coordinator could not be told that writes go on."
)
STORE_DOES_NOT_SAY = Event(
    "store_does_not_say", INFO, ("store", "object", "error"), "A store does not say what it has of a write."
)
GARBAGE_KEPT = Event("garbage_kept", INFO, ("store", "error"), "A store drops what nobody needs later.")
ORPHANS_KEPT = Event(
    "orphans_kept",
    WARNING,
    ("count", "stores", "tolerate"),
    "More stores don't answer than objects tolerate to lose: shards that no object seems to need are not dropped.",
)
LEFTOVERS_FOUND = Event(
    "leftovers_found",
    INFO,
    ("store", "shards", "reason"),
    "A store has shards that came late, or were missed: it drops them, since others are in their place.",
)
ENCODED_AGAIN = Event(
    "encoded_again", WARNING, ("object", "error"), "An object without a name is written anew, elsewhere."
)
READ_AGAIN = Event("read_again", WARNING, ("error",), "An object is read again, with stores that are back.")
READ_WITHOUT_SHARDS = Event(
    "read_without_shards", WARNING, ("write_id", "shards"), "An object was read without some of its shards."
)
SHARDS_KEPT = Event(
    "shards_kept", WARNING, ("servant", "write_id", "error"), "A store kept shards that were to be freed."
)
PLACES_FEW = Event(
    "places_few",
    WARNING,
    ("object", "code", "places", "survivable", "tolerate"),
    "An object lies on too few places to bear what its code does.",
    "Add places.",
)
NAMES_NO_FILES = Event(
    "names_no_files",
    WARNING,
    ("count", "example"),
    "Objects are no files, since their names can't be paths; the driver reads and deletes them.",
)

# -- Damage and repair

SHARD_DAMAGED = Event(
    "shard_damaged",
    WARNING,
    ("index", "write_id", "store", "reason"),
    "A shard that was read is damaged.",
    "It is mended by itself; look at the disk if there are many.",
)
CORRUPTION_FOUND = Event(
    "corruption_found",
    WARNING,
    ("shards", "store"),
    "A scrub found shards damaged or missing on a store.",
    "They are mended; look at the disk.",
)
RECORDS_UNKNOWN = Event(
    "records_unknown",
    WARNING,
    ("count",),
    "Stores have records of writes that the catalog does not know; they are not dropped.",
    "See `faultset rebuild`.",
)
DAMAGE_UNKNOWN = Event("damage_unknown", WARNING, ("error",), "Which shards are damaged is not known now.")
DAMAGE_UNREPORTED = Event("damage_unreported", WARNING, ("error",), "Damage could not be reported; a scrub finds it.")
RECORDS_DELAYED = Event(
    "records_delayed",
    WARNING,
    ("store", "error"),
    "A store could not keep records that it lacks; the next scrub gives it them again.",
)
SCRUB_DELAYED = Event("scrub_delayed", WARNING, ("store", "error"), "A store is scrubbed another time.")
REPAIR_DONE = Event("repair_done", WARNING, ("shards", "objects"), "Shards were made anew or moved.")
REPAIR_FAILED = Event(
    "repair_failed",
    WARNING,
    ("object", "again_s", "error"),
    "An object could not be mended now.",
    "See `faultset status`.",
)
MOVES_GIVEN_UP = Event("moves_given_up", WARNING, ("count",), "Moves of shards that nobody carries on are given up.")
SHARDS_SPREAD = Event(
    "shards_spread", WARNING, ("shards", "stores"), "Shards were moved, so that objects are spread over all stores."
)
WRITE_NOT_SPREAD = Event("write_not_spread", INFO, ("write_id", "error"), "A write stays where it is.")
SHARD_REBUILT_NOT_COPIED = Event(
    "shard_rebuilt_not_copied", WARNING, ("index", "object", "error"), "A shard that was to be copied is made anew."
)
SHARD_NOT_READ = Event("shard_not_read", INFO, ("index", "object", "error"), "A shard can't be looked at.")
COPY_STAYS = Event("copy_stays", INFO, ("index", "write_id", "error"), "What was made beside a shard stays for now.")
MOVE_STAYS_OPEN = Event(
    "move_stays_open", WARNING, ("write_id", "store", "error"), "A move of a shard can't be ended yet."
)
UPKEEP_CUT_SHORT = Event(
    "upkeep_cut_short", INFO, ("what", "error"), "A piece of background work was cut short; it is tried again."
)

# -- Traces and metrics

TRACES_MISSING = Event(
    "traces_missing",
    WARNING,
    ("what", "error"),
    "A process makes no traces, though it was told to.",
    "Correct the setting, or install what it names there.",
)

METRICS_UNTOLD = Event(
    "metrics_untold",
    WARNING,
    ("what", "error"),
    "Ray did not take a metric; it is said once a process, and what works goes on.",
    "See what the error says; figures of that process may be missing.",
)

# -- HTTP

REQUEST_REFUSED = Event(
    "request_refused",
    WARNING,
    ("status", "error_code", "reason", "count"),
    "Requests are refused: their token is missing, wrong or too weak, or their host or origin is none of ours. Told "
    "of the first, the second, the fourth, and so on, of an hour.",
    "If there are many, see who sends them.",
)

# -- Ray

RAY_ANSWERED_ODDLY = Event("ray_answered_oddly", DEBUG, ("what", "status"), "A Ray port answered in an unknown way.")
SERVANT_NOT_CLOSED = Event(
    "servant_not_closed", DEBUG, ("servant", "error"), "A servant was ended without being closed."
)
SERVANT_GONE = Event("servant_gone", DEBUG, ("servant",), "A servant was gone already.")
