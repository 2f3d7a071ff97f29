"""How a large count is run: how often, from which seed, and what is said of it."""

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

COVERING = 100
"""In so many drills or more, everything that may happen is to happen."""


@dataclass
class Large:
    seed: int
    target: str
    counted: int = 0
    notes: list[str] = field(default_factory=list)
    """What was measured, for the summary."""

    def count(self, default: int) -> int:
        self.counted = int(os.environ.get("COUNT") or default)
        return self.counted

    def drills(self, default: int, drill, happening: Collection[str] = ()) -> Counter:
        """Run a drill for as many seeds; what happened in all of them.

        Of many seeds, each thing that may happen did at least once. Of a few not: one seed is the replay of a drill.
        """
        happened: Counter = Counter()
        for seed in range(self.seed, self.seed + self.count(default)):
            try:
                happened.update(drill(seed))
            except Exception as error:
                raise AssertionError(f"seed {seed}: {self.target} SEED={seed} COUNT=1 replays it") from error
        never = [what for what in happening if not happened[what]]
        assert not never or self.counted < COVERING, f"in {self.counted:,} drills never happened: {', '.join(never)}"
        del happened["trace"]  # a number that tells one run from another
        self.notes.append(", ".join(f"{number:,} {what}" for what, number in sorted(happened.items())))
        return happened
