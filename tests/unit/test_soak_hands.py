"""The steps of a soak's drivers come from its seed, and are others in each life of a driver."""

import asyncio

import pytest
from soak.hands import Hand
from soak.ledger import Ledger, payload

from faultset_ray.errors import ObjectNotFound


def test_a_seed_fixes_the_steps(tmp_path):
    def steps(seed, owner):
        ledger = Ledger(tmp_path / "0.journal", seed)
        hand = Hand(None, ledger, seed, owner)
        ledger.close()
        return [int(hand.dice.integers(1 << 30)) for _ in range(5)]

    first = steps(1, "0/0")
    assert steps(1, "0/0") == first
    assert first not in (steps(2, "0/0"), steps(1, "0/1"))
    ledger = Ledger(tmp_path / "0.journal", 1)
    ledger.note(do="put", name="0/0/ø 1", version=1)
    ledger.close()
    assert steps(1, "0/0") != first


@pytest.mark.parametrize(("begun", "after", "then"), [("put", {None, 1}, "gets"), (None, {None}, "wrong")])
def test_a_deletion_that_finds_nothing_decides_nothing(tmp_path, begun, after, then):
    """A put whose driver was killed may still be carried on; where none was begun, nothing may come."""

    class Absent:
        async def delete(self, name):
            raise ObjectNotFound(name)

    ledger = Ledger(tmp_path / "0.journal", 1)
    if begun:
        ledger.note(do="put", name="n", version=1)
    asyncio.run(Hand(Absent(), ledger, 1, "0/0").delete("n"))
    assert ledger.now("n") == after
    assert ledger.judge("n", ledger.now("n"), payload(1, "n", 1)) == then
    assert ledger.counted["lost"] == 0
    ledger.note(do="is", name="n", version=2)
    assert ledger.judge("n", ledger.now("n"), None) == "lost"
    asyncio.run(Hand(Absent(), ledger, 1, "0/0").delete("n"))
    assert ledger.counted["lost"] == 1, "what was acknowledged is not to be found"
    ledger.close()
