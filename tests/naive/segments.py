"""Segments in another order, one at a time."""


def reorder_segments(pool, counts, order):
    begins = [sum(counts[:g]) for g in range(len(counts))]
    starts, out = [0], []
    for g in order:
        out += pool[begins[g] : begins[g] + counts[g]]
        starts.append(len(out))
    return starts, out
