"""RaptorQ packets: those of the package, in its order; decoded from any that suffice."""

import sys
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import raptorq as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from faultset_ray import codes
from faultset_ray.errors import CorruptShard, InputError, LimitExceeded, NotEnoughShards, UnsupportedOperation

raptorq = codes.raptorq


def random_bytes(size, seed=0):
    return np.random.default_rng(seed).bytes(size)


@pytest.mark.parametrize(
    ("size", "mtu", "repair"), [(1, 1, 0), (1, 8, 3), (1000, 13, 5), (5000, 1403, 4), (100_000, 100, 7)]
)
def test_the_same_packets_in_the_same_order(size, mtu, repair):
    data = random_bytes(size)
    packets = raptorq.encode_packets(data, mtu, repair)
    assert packets == theirs.Encoder.with_defaults(data, mtu).get_encoded_packets(repair)
    assert {len(packet) for packet in packets} == {4 + raptorq.symbol_bytes(mtu)}


@settings(max_examples=60)
@given(st.integers(1, 3000), st.integers(1, 300), st.integers(0, 2**32), st.data())
def test_any_two_packets_more_than_the_data_suffice(size, mtu, seed, draw):
    data = random_bytes(size, seed)
    need = raptorq.Decoder(size, mtu).need
    packets = raptorq.encode_packets(data, mtu, need + 2)
    order = np.random.default_rng(seed).permutation(len(packets))[: need + 2]
    chosen = [packets[int(index)] for index in order]
    repeated = draw.draw(st.lists(st.sampled_from(chosen), max_size=3)) + chosen
    assert raptorq.decode_packets(repeated, size, mtu) == data


def test_one_after_the_other():
    data = random_bytes(5000)
    encoder = raptorq.Encoder(data, 100)
    decoder = raptorq.Decoder(5000, 100)
    repairs = list(islice(encoder.repair_packets(), decoder.need + 3))
    assert len({packet[:4] for packet in repairs}) == len(repairs)
    assert not {packet[:4] for packet in repairs} & {packet[:4] for packet in encoder.packets()}
    answers = [decoder.add(packet) for packet in repairs]
    first = next(index for index, answer in enumerate(answers) if answer is not None)
    assert first >= decoder.need - 1
    assert answers[first:] == [data] * (len(answers) - first)


def test_too_few_packets_say_how_many():
    packets = raptorq.encode_packets(random_bytes(1000), 100, 0)
    with pytest.raises(NotEnoughShards) as caught:
        raptorq.decode_packets(packets[:5] + packets[:5], 1000, 100)
    assert (caught.value.have, caught.value.need) == (5, 11)


def test_what_can_be_no_packet_of_the_data():
    packet = raptorq.encode_packets(random_bytes(1000), 100, 0)[0]
    for wrong in (b"", packet[:50], packet + b"\0", b"\x05" + packet[1:]):
        with pytest.raises(CorruptShard):
            raptorq.decode_packets([wrong], 1000, 100)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_packets_and_data_are_any_bytes(kind):
    data = random_bytes(1000)
    packets = raptorq.encode_packets(kind(data), 100, 3)
    assert packets == raptorq.encode_packets(data, 100, 3)
    assert raptorq.decode_packets(map(kind, packets), 1000, 100) == data


def test_arguments_out_of_range():
    for data, mtu, repair in [
        (b"", 100, 0),
        ("x", 100, 0),
        (b"x", 0, 0),
        (b"x", 65536, 0),
        (b"x", True, 0),
        (b"x", 9, -1),
    ]:
        with pytest.raises(InputError):
            raptorq.encode_packets(data, mtu, repair)
    for size, mtu in [(0, 100), (-1, 100), (True, 100), (10, 0)]:
        with pytest.raises(InputError):
            raptorq.decode_packets([], size, mtu)
    with pytest.raises(LimitExceeded):
        raptorq.decode_packets([], 1 << 50, 100)


def test_the_largest_object_and_one_symbol_more():
    symbol = raptorq.symbol_bytes(1400)
    most = 255 * 56_403
    assert raptorq.Decoder(most * symbol, 1400).need == most
    with pytest.raises(LimitExceeded):
        raptorq.Decoder(most * symbol + 1, 1400)


def test_repair_packets_are_bounded(monkeypatch):
    encoder = raptorq.Encoder(b"x", 8)
    with pytest.raises(LimitExceeded):
        encoder.packets((1 << 20) + 1)
    monkeypatch.setattr(raptorq, "REPAIR_MAX", 100)
    packets = list(encoder.repair_packets())
    assert len({packet[:4] for packet in packets}) == len(packets) == 100


def test_a_panic_of_the_package_is_an_error_of_ours(monkeypatch):
    class PanicException(BaseException):
        pass

    def panics(*_):
        raise PanicException

    raptorq.symbol_bytes(1400)
    monkeypatch.setattr(theirs, "Encoder", SimpleNamespace(with_defaults=panics))
    monkeypatch.setattr(theirs, "Decoder", SimpleNamespace(with_defaults=panics))
    with pytest.raises(InputError, match="can't encode 4 bytes with mtu 1400"):
        raptorq.Encoder(b"data", 1400)
    with pytest.raises(InputError, match="can't decode 4 bytes"):
        raptorq.Decoder(4, 1400)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "raptorq", None)
    with pytest.raises(UnsupportedOperation, match=r"faultset-ray\[raptorq\]"):
        raptorq.Encoder(b"data", 777)
