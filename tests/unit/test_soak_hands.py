"""The steps of a soak's drivers come from its seed, and are others in each life of a driver."""

from soak.hands import Hand
from soak.ledger import Ledger


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
