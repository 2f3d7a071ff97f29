"""Parity bytes made by other implementations, frozen."""

import json
from pathlib import Path

import numpy as np
import pytest

from faultset_ray import codes

GOLDEN = json.loads((Path(__file__).parent / "codes" / "rs.json").read_text())["parity"]


@pytest.mark.parametrize("spec", GOLDEN)
def test_parity_is_byte_for_byte_theirs(spec):
    code = codes.get(spec)
    assert code.spec == spec
    data = (np.arange(code.k * 64, dtype=np.uint64) * 2654435761 >> 7).astype(np.uint8).reshape(code.k, 64)
    assert [row.tobytes().hex() for row in code.encode(data)] == GOLDEN[spec]
