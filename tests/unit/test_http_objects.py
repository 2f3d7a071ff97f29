"""Objects over HTTP: bytes there and back, ranges, conditions, pages, and what a client that goes away leaves."""

import hashlib
import http.client
import os
import threading

import pytest
from http_server import Served, cut_off_put, now_ms
from waiting import until

from faultset_ray.config import Config, Http, Stores
from faultset_ray.http.headers import http_date, span_of, tags
from faultset_ray.http.problems import InvalidHeader, RangeRefused

MIB = 1 << 20
DATA = bytes(range(256)) * 400
LARGE = os.urandom(40 * MIB)


@pytest.fixture(scope="module")
def served():
    with Served() as served:
        yield served


@pytest.fixture
def client(served):
    return served.client


def chunks(data, size=100_000):
    return (data[at : at + size] for at in range(0, len(data), size))


def problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["code"], document["type"]) == (status, code, f"urn:faultset:problem:{code}")
    assert document["title"]
    assert document["detail"]
    return document


@pytest.mark.parametrize("data", [b"", b"x", DATA, LARGE], ids=len)
@pytest.mark.parametrize("known", [True, False], ids=["length", "chunked"])
def test_bytes_there_and_back(client, data, known):
    put = client.put("/v1/objects/there", content=data if known else chunks(data))
    assert put.status_code == 200, put.text
    receipt = put.json()
    assert (receipt["name"], receipt["size"], receipt["survivable"]) == ("there", len(data), 2)
    assert put.headers["etag"] == f'"{receipt["generation"]}"'
    got = client.get("/v1/objects/there")
    assert got.content == data
    assert got.headers["etag"] == put.headers["etag"]
    assert got.headers["x-faultset-sha256"] == hashlib.sha256(data).hexdigest()
    assert got.headers["content-type"] == "application/octet-stream"
    head = client.head("/v1/objects/there")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(data)))
    assert head.headers["etag"] == put.headers["etag"]


@pytest.mark.parametrize(
    "name", ["a/b", "ä ö/ü?&#+%", "a..b", "/", "a//b", "line\nbreak", "x" * 1024, "%2F", "\u2028", "*"]
)
def test_names_are_any_text(client, name):
    from urllib.parse import quote

    url = f"/v1/objects/{quote(name, safe='')}"
    put = client.put(url, content=name.encode())
    assert (put.status_code, put.json()["name"]) == (200, name)
    assert client.get(url).content == name.encode()
    assert name in [each["name"] for each in client.get("/v1/objects", params={"prefix": name}).json()["objects"]]
    assert client.delete(url).json()["name"] == name
    problem(client.get(url), 404, "object_not_found")


def test_a_name_that_clients_take_for_a_step_up(served):
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.request("PUT", "/v1/objects/%2E%2E/x", b"up")
    assert b'"name":"../x"' in connection.getresponse().read()
    connection.close()


def test_names_that_none_can_have(client):
    for path in ("/v1/objects/", "/v1/objects/" + "x" * 1025, "/v1/objects/%ff", "/v1/objects/%00"):
        put = client.put(path, content=b"")
        assert put.status_code in {200, 400}
        if put.status_code == 400:
            problem(put, 400, "invalid_object_name")
    problem(client.put("/v1/objects/%ff", content=b""), 400, "invalid_object_name")
    problem(client.put("/v1/objects/", content=b""), 400, "invalid_object_name")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, None),
        ("bytes=-7", -7, None),
        ("bytes=10-99999999999", 10, None),
        ("bytes=-99999999999", 0, None),
        ("Bytes = 3-4", 3, 5),
    ],
)
@pytest.mark.parametrize("data", [DATA, LARGE], ids=["small", "large"])
def test_ranges(client, asked, start, stop, data):
    name = f"/v1/objects/ranges-{len(data)}"
    if client.head(name).status_code == 404:
        client.put(name, content=data)
    got = client.get(name, headers={"Range": asked})
    assert got.status_code == 206
    assert got.content == data[start:stop]
    first = start % len(data)
    assert got.headers["content-range"] == f"bytes {first}-{first + len(got.content) - 1}/{len(data)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "items=0-1", "bytes=5-2", "bytes=-", "bytes=x-y", "0-1"])
def test_what_is_no_range_is_passed_over(client, asked):
    client.put("/v1/objects/whole", content=DATA)
    got = client.get("/v1/objects/whole", headers={"Range": asked})
    assert (got.status_code, got.content) == (200, DATA)


def test_ranges_without_a_byte(client):
    client.put("/v1/objects/short", content=b"12345")
    for asked in ("bytes=5-", "bytes=-0", "bytes=9-10"):
        got = client.get("/v1/objects/short", headers={"Range": asked})
        problem(got, 416, "range_not_satisfiable")
        assert got.headers["content-range"] == "bytes */5"


def test_a_range_of_what_it_was(client):
    old = client.put("/v1/objects/if-range", content=b"old bytes").headers["etag"]
    same = client.get("/v1/objects/if-range", headers={"Range": "bytes=0-2", "If-Range": old})
    assert (same.status_code, same.content) == (206, b"old")
    client.put("/v1/objects/if-range", content=b"new bytes")
    for tag in (old, http_date(0), "W/" + old):
        other = client.get("/v1/objects/if-range", headers={"Range": "bytes=0-2", "If-Range": tag})
        assert (other.status_code, other.content) == (200, b"new bytes")


def test_reads_with_conditions(client):
    tag = client.put("/v1/objects/read", content=b"1").headers["etag"]
    for name in ("If-None-Match", "if-none-match"):
        for value in (tag, "*", f'"0", {tag}', f"W/{tag}"):
            got = client.get("/v1/objects/read", headers={name: value})
            assert (got.status_code, got.content, got.headers["etag"]) == (304, b"", tag)
    assert client.head("/v1/objects/read", headers={"If-None-Match": tag}).status_code == 304
    assert client.get("/v1/objects/read", headers={"If-None-Match": '"0"'}).content == b"1"
    assert client.get("/v1/objects/read", headers={"If-Match": tag}).content == b"1"
    for value in ('"0"', f"W/{tag}", '"x"'):
        found = problem(client.get("/v1/objects/read", headers={"If-Match": value}), 412, "precondition_failed")
        assert f'"{found["found"]}"' == tag
    for value in ("x", '"', "1", '"1" "2"', ""):
        problem(client.get("/v1/objects/read", headers={"If-Match": value}), 400, "invalid_header")


def test_writes_with_conditions(client):
    url = "/v1/objects/written"
    first = client.put(url, content=b"1", headers={"If-None-Match": "*"})
    assert first.status_code == 201
    problem(client.put(url, content=b"2", headers={"If-None-Match": "*"}), 412, "precondition_failed")
    problem(client.put(url, content=b"2", headers={"If-Match": '"1"'}), 412, "precondition_failed")
    problem(client.put(url, content=b"2", headers={"If-None-Match": first.headers["etag"]}), 412, "precondition_failed")
    assert client.get(url).content == b"1"
    second = client.put(url, content=b"2", headers={"If-Match": first.headers["etag"]})
    assert second.status_code == 200
    third = client.put(url, content=b"3", headers={"If-Match": "*"})
    assert third.status_code == 200
    problem(client.delete(url, headers={"If-Match": second.headers["etag"]}), 412, "precondition_failed")
    assert client.delete(url, headers={"If-Match": third.headers["etag"]}).status_code == 200
    problem(client.put(url, content=b"4", headers={"If-Match": "*"}), 412, "precondition_failed")
    problem(client.delete(url), 404, "object_not_found")


def test_of_many_that_change_the_same_one_wins(served):
    """Each read a generation, and puts the next: no change may be lost."""
    url = f"{served.url}/v1/objects/counter"
    served.client.put(url, content=b"0")

    def count(total):
        import httpx

        with httpx.Client(timeout=60) as client:
            done = 0
            while done < total:
                got = client.get(url)
                put = client.put(url, content=str(int(got.content) + 1), headers={"If-Match": got.headers["etag"]})
                done += put.status_code == 200
                assert put.status_code in {200, 409, 412}, put.text

    threads = [threading.Thread(target=count, args=(10,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served.client.get(url).content == b"40"


def test_pages_of_a_list(client):
    names = [f"page/{number:03}" for number in range(25)]
    for name in names:
        client.put(f"/v1/objects/{name}", content=b"")
    found, after = [], ""
    while True:
        page = client.get("/v1/objects", params={"prefix": "page/", "after": after, "limit": 10}).json()
        found += [each["name"] for each in page["objects"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert found == names
    client.delete("/v1/objects/page/007")
    gone = client.get("/v1/objects", params={"prefix": "page/", "deleted": True}).json()["objects"]
    assert [each["name"] for each in gone] == ["page/007"]
    problem(client.get("/v1/objects", params={"limit": 0}), 422, "invalid_request")


def test_how_long_a_deleted_object_can_be_brought_back():
    day = 86_400_000
    with Served(settings=Config(stores=Stores(delete_grace_s=3 * 86_400))) as served:
        for params, grace_ms in (({}, 3 * day), ({"grace_s": 86_400}, day)):
            served.client.put("/v1/objects/gone", content=b"x")
            before_ms = now_ms()
            until_ms = served.client.delete("/v1/objects/gone", params=params).json()["until_ms"]
            assert before_ms <= until_ms - grace_ms <= now_ms()
        problem(served.client.delete("/v1/objects/gone", params={"grace_s": -1}), 422, "invalid_request")


def test_codes_and_promises(client):
    receipt = client.put("/v1/objects/coded", params={"code": "rs:2+1", "tolerate": 1}, content=DATA).json()
    assert (receipt["code"].split(":")[0], receipt["survivable"]) == ("rs", 1)
    problem(client.put("/v1/objects/coded", params={"code": "rs:x"}, content=DATA), 422, "invalid_code_spec")
    problem(client.put("/v1/objects/coded", params={"tolerate": 9}, content=DATA), 400, "input_error")
    problem(client.put("/v1/objects/coded", params={"code": "rs:20+4"}, content=DATA), 507, "not_enough_places")
    problem(
        client.put("/v1/objects/coded", content=DATA, headers={"Content-Range": "bytes 0-1/2"}), 400, "invalid_header"
    )
    assert client.get("/v1/objects/coded").content == DATA


def test_a_client_that_goes_away_leaves_nothing(served):
    cut_off_put(served.port, "/v1/objects/half", 30 * MIB, 20 * MIB)

    def put():
        return served.client.put("/v1/objects/half", content=b"other", headers={"If-None-Match": "*"})

    until(lambda: put().status_code == 201)  # the write that was left would be in the way
    assert served.client.get("/v1/objects/half").content == b"other"


def test_damage_beyond_repair_is_an_error_or_a_cut_answer():
    with Served() as served:
        served.client.put("/v1/objects/small", content=DATA)
        served.client.put("/v1/objects/large", content=LARGE)
        for place in range(8):
            served.backend.kill(f"p{place}")
        problem(served.client.get("/v1/objects/small"), 503, "not_enough_shards")
        with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|503"):
            served.client.get("/v1/objects/large").raise_for_status()


def test_headers_alone():
    assert span_of(None, 5) is None
    assert span_of("bytes=0-", 5) == (0, 5)
    assert span_of("bytes=-2", 5) == (3, 5)
    with pytest.raises(RangeRefused):
        span_of("bytes=0-", 0)
    assert tags("If-Match", None) is None
    assert tags("If-None-Match", ' "1" , W/"2"') == ("1", "2")
    assert tags("If-Match", 'W/"2"') == ()
    with pytest.raises(InvalidHeader):
        tags("If-Match", "'1'")


def test_settings_that_cannot_be():
    from faultset_ray.errors import InvalidConfig

    for bad in (
        {"host": ""},
        {"port": -1},
        {"port": True},
        {"hosts": ("*",)},
        {"hosts": ()},
        {"hosts": ("localhost:80",)},
        {"request_s": 0},
        {"idle_s": float("nan")},
        {"requests_max": 0},
        {"object_bytes_max": 1.5},
        {"tokens": ""},
    ):
        with pytest.raises(InvalidConfig):
            Http(**bad)
    for host in ("0.0.0.0", "example.org"):
        with pytest.raises(InvalidConfig, match="there is no file of tokens"):
            Served(Http(host=host))
    Http(host="::1").check_guarded()
    Http(host="0.0.0.0", tokens="t").check_guarded()
