"""Objects lived through: stores and regions lost and shards repaired at random times, until they can't be decoded."""

from naive import placement


def lost_within(code, years, store_rate, region_rate, repair_rate, per_region, dice):
    """Whether one object is lost within so many years; rates are per year, ``dice`` a ``random.Random``."""
    shards = dice.sample(range(code.n), code.n)
    regions = [shards[low : low + per_region] for low in range(0, code.n, per_region)]
    lost, now = set(), 0.0
    while True:
        rates = [(code.n - len(lost)) * store_rate, len(regions) * region_rate, len(lost) * repair_rate]
        now += dice.expovariate(sum(rates))
        if now > years:
            return False
        (what,) = dice.choices(("store", "region", "repair"), rates)
        if what == "repair":
            lost.remove(dice.choice(sorted(lost)))
        elif what == "store":
            lost.add(dice.choice(sorted(set(range(code.n)) - lost)))
        else:
            lost.update(dice.choice(regions))
        if not placement.decodes(code, set(range(code.n)) - lost):
            return True
