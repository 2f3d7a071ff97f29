"""Parity bytes, frozen: of Reed–Solomon as other implementations make them, of the rest as first released."""

import json
from pathlib import Path

import numpy as np
import pytest

from faultset_ray import codes

FOLDER = Path(__file__).parent / "codes"
GOLDEN = {
    spec: rows
    for name in ("rs", "others")
    for spec, rows in json.loads((FOLDER / f"{name}.json").read_text())["parity"].items()
}


@pytest.mark.parametrize("spec", GOLDEN)
def test_parity_is_byte_for_byte_the_same(spec):
    code = codes.get(spec)
    assert code.spec == spec
    data = (np.arange(code.k * 64, dtype=np.uint64) * 2654435761 >> 7).astype(np.uint8).reshape(code.k, 64)
    assert [row.tobytes().hex() for row in code.encode(data)] == GOLDEN[spec]
