import pickle

import pytest

from faultset_ray import codes
from faultset_ray.codes.spec import parse
from faultset_ray.errors import InvalidCodeSpec


def test_canonical_text_writes_every_option_and_is_one_object():
    code = codes.get("rs:10+4")
    assert code.spec == "rs:10+4,matrix=cauchy"
    assert codes.get(code.spec) is code
    assert (code.k, code.n) == (10, 14)


def test_a_code_pickles_as_its_spec():
    code = codes.get("rs:200+55")
    assert len(pickle.dumps(code)) < 150
    assert pickle.loads(pickle.dumps(code)) is code


def test_options_are_sorted():
    assert str(parse("x:3,b=1,a=2")) == "x:3,a=2,b=1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rs",
        "rs:",
        "rs:10",
        "rs:10+4+2",
        "rs:0+4",
        "rs:10+0",
        "rs:200+56",
        "rs:010+4",
        "rs:+10+4",
        "rs:-1+4",
        "rs: 10+4",
        "rs:10+4 ",
        "rs:10+4\n",
        "RS:10+4",
        "rs:\uff11+4",
        "rs:10+4,",
        "rs:10+4,matrix",
        "rs:10+4,matrix=",
        "rs:10+4,matrix=nope",
        "rs:10+4,matrix=cauchy,matrix=cauchy",
        "rs:10+4,speed=1",
        "nope:10+4",
        "rs:99999999999999999999+1",
        "rs:10+4,matrix=" + "a" * 60,
    ],
)
def test_bad_specs_are_refused_with_the_text(text):
    with pytest.raises(InvalidCodeSpec) as caught:
        codes.get(text)
    assert caught.value.spec[:40] == text[:40]


@pytest.mark.parametrize("text", [None, 10, b"rs:10+4", ["rs:10+4"]])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(InvalidCodeSpec):
        codes.get(text)


def test_the_numbers_are_in_the_text_of_the_error():
    with pytest.raises(InvalidCodeSpec, match=r"k = 200 and m = 56 give n = 256; .* n up to 255"):
        codes.get("rs:200+56")
