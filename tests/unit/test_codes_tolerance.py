"""How many losses a code promises to bear."""

import pytest

from faultset_ray import codes


@pytest.mark.parametrize(
    ("spec", "losses"),
    [
        ("rs:10+4", 4),
        ("rs:1+1", 1),
        ("rs:6+6,matrix=isal_vand,allow_non_mds=1", 5),
        ("lrc:4+2+1", 2),
        ("lrc:6+2+2", 3),
        ("lrc:12+2+2", 3),
        ("xor:5+1", 1),
        ("copy:3", 2),
        ("ldpc:300+150", 0),
    ],
)
def test_tolerance(spec, losses):
    assert codes.get(spec).tolerance == losses


def test_a_large_code_promises_what_was_tried():
    assert 1 <= codes.get("lrc:100+4+4").tolerance <= 5
