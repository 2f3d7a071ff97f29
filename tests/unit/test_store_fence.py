"""Who may change a store: the catalog that it belongs to, by no coordinator older than the newest it saw."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from stores import crash, store_at
from told import told

from faultset_ray.errors import CatalogMismatch, InputError, StaleEpoch, StoreFailure
from faultset_ray.limits import SILENT_MAX
from faultset_ray.objects import store_home
from faultset_ray.objects.entry import Fence, RetiredStores
from faultset_ray.objects.record import Record
from faultset_ray.objects.store_values import Whole
from faultset_ray.shards.format import Header

CATALOG, OTHER = b"c" * 16, b"o" * 16
HEADER = Header(0, 2, 3, 64, b"w" * 16, "xor:2+1").pack()
TOMBSTONE = Record("delete", "a", 1, b"t" * 16, 0, bytes(32), "", 0, 0, 0, 0, 5, "fsync").pack()

CHANGES = {
    "admit": lambda store, fence: store.admit(fence),
    "write": lambda store, fence: store.write([Whole(HEADER, None, None, 0, bytes(32))], fence),
    "seal": lambda store, fence: store.seal(b"w" * 16, 0, 0, 0, bytes(32), fence),
    "record": lambda store, fence: store.record([TOMBSTONE], fence),
    "forget": lambda store, fence: store.forget([(bytes(32), 1)], fence),
    "drop": lambda store, fence: store.drop([(b"w" * 16, None)], fence),
    "keep_retired": lambda store, fence: store.keep_retired(RetiredStores(1, {"x": 1}), fence),
    "quarantine": lambda store, fence: store.quarantine(b"w" * 16, 0, "", fence),
}


@pytest.fixture
def store(tmp_path):
    store = store_at(tmp_path)
    store.begin(HEADER)
    yield store
    store.close()


def snapshot(store):
    home = Path(store.info().path)
    return sorted(str(path) for path in home.rglob("*.*") if "records" not in path.name), store.scan_records(b"", 9)


@pytest.mark.parametrize("change", CHANGES)
def test_lower_epochs_and_other_catalogs_are_refused(store, change):
    store.admit(Fence(CATALOG, 5))
    before = snapshot(store)
    with pytest.raises(StaleEpoch) as stale:
        CHANGES[change](store, Fence(CATALOG, 4))
    assert (stale.value.theirs, stale.value.ours) == (4, 5)
    with pytest.raises(CatalogMismatch) as caught:
        CHANGES[change](store, Fence(OTHER, 99))
    assert (caught.value.store, caught.value.theirs, caught.value.ours) == (store.uuid, CATALOG.hex(), OTHER.hex())
    assert snapshot(store) == before
    assert (store.info().catalog, store.info().epoch) == (CATALOG.hex(), 5)


@pytest.mark.parametrize("change", sorted(set(CHANGES) - {"quarantine"}))
def test_a_higher_epoch_is_remembered_by_whatever_brings_it(store, change):
    assert (store.info().catalog, store.info().epoch) == ("", 0)
    CHANGES[change](store, Fence(CATALOG, 0))
    assert (store.info().catalog, store.info().epoch) == (CATALOG.hex(), 0)
    CHANGES[change](store, Fence(CATALOG, 7))
    CHANGES[change](store, Fence(CATALOG, 7))
    assert store.info().epoch == 7


@pytest.mark.parametrize("clean", [True, False])
def test_it_outlives_the_process(tmp_path, clean):
    store = store_at(tmp_path)
    assert store.admit(Fence(CATALOG, 3)).epoch == 3
    store.close() if clean else crash(store)
    again = store_at(tmp_path)
    assert (again.info().catalog, again.info().epoch) == (CATALOG.hex(), 3)
    with pytest.raises(StaleEpoch):
        again.record([], Fence(CATALOG, 2))
    again.close()


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"catalog": "zz", "epoch": 1}', '{"catalog": 5, "epoch": 1}'])
def test_one_that_can_not_be_read_is_not_guessed_at(tmp_path, caplog, body):
    store = store_at(tmp_path)
    store.admit(Fence(CATALOG, 3))
    home = Path(store.info().path)
    store.close()
    assert json.loads((home / "fence.json").read_text()) == {"catalog": CATALOG.hex(), "epoch": 3, "least": 2}
    (home / "fence.json").write_text(body)
    another = store_at(tmp_path)
    assert another.uuid != home.name
    assert "fence.json is not what a store writes" in caplog.text
    another.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_has_room_for_an_epoch(tmp_path, monkeypatch, code):
    store = store_at(tmp_path)
    spare = Path(store.info().path) / "spare"
    assert spare.stat().st_size == 4096
    real, keeps = store_home.replace_file, True

    def replace_file(path, *arguments, **options):
        if spare.exists() or (path == spare and not keeps):
            raise OSError(code, os.strerror(code))
        real(path, *arguments, **options)

    monkeypatch.setattr(store_home, "replace_file", replace_file)
    if code == errno.EIO:
        with pytest.raises(StoreFailure, match="EIO"):
            store.admit(Fence(CATALOG, 1))
        assert spare.exists()
    else:
        assert [store.admit(Fence(CATALOG, epoch)).epoch for epoch in (1, 2)] == [1, 2], "the room is kept again"
        keeps = False
        assert store.admit(Fence(CATALOG, 3)).epoch == 3
        assert not spare.exists(), "another took it"
    monkeypatch.undo()
    assert store.admit(Fence(CATALOG, 4)).epoch == 4
    assert spare.exists()
    store.close()


@pytest.mark.parametrize("clean", [True, False])
def test_the_least_that_writes_tolerate_is_never_raised(tmp_path, clean):
    store = store_at(tmp_path)
    assert store.info().least == SILENT_MAX
    assert store.admit(Fence(CATALOG, 3, 1)).least == 1
    assert store.admit(Fence(CATALOG, 4)).least == 1, "a driver that was not told yet"
    store.close() if clean else crash(store)
    again = store_at(tmp_path)
    assert (again.info().epoch, again.info().least) == (4, 1)
    assert again.admit(Fence(CATALOG, 4, 0)).least == 0
    again.close()


RETIRED = RetiredStores(5, {"a": 7, "b": 9})


@pytest.mark.parametrize("clean", [True, False])
def test_which_stores_were_retired_is_remembered(tmp_path, clean):
    store = store_at(tmp_path)
    assert (store.info().retired, store.retired_stores()) == (0, RetiredStores())
    store.keep_retired(RETIRED, Fence(CATALOG, 3))
    store.keep_retired(RetiredStores(4, {}), Fence(CATALOG, 3))
    store.close() if clean else crash(store)
    again = store_at(tmp_path)
    assert (again.uuid, again.info().retired, again.retired_stores()) == (store.uuid, 5, RETIRED)
    with pytest.raises(StaleEpoch):
        again.keep_retired(RetiredStores(6, {}), Fence(CATALOG, 2))
    again.keep_retired(RetiredStores(6, {}), Fence(CATALOG, 3))
    assert again.retired_stores() == RetiredStores(6, {})
    again.close()


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"version": 1, "stores": []}', '{"version": 1, "stores": {"a": "x"}}']
)
def test_a_damaged_list_of_retired_stores_is_told_anew(tmp_path, caplog, body):
    store = store_at(tmp_path)
    store.keep_retired(RETIRED, Fence(CATALOG, 3))
    store.close()
    home = store._home.path
    assert RetiredStores.unpack((home / "retired.json").read_bytes()) == RETIRED
    (home / "retired.json").write_text(body)
    again = store_at(tmp_path)
    assert [each["path"] for each in told(caplog, "retired_list_damaged")] == [str(home / "retired.json")]
    assert (again.uuid, again.info().retired) == (home.name, 0)
    again.keep_retired(RETIRED, Fence(CATALOG, 3))
    assert again.retired_stores() == RETIRED
    again.close()


@pytest.mark.parametrize("fence", [Fence(b"short", 1), Fence(CATALOG, -1), None, (CATALOG, 1)])
def test_what_is_no_fence_is_refused(store, fence):
    with pytest.raises(InputError, match="fence"):
        store.admit(fence)


def test_shards_without_an_object_need_none(store):
    assert store.seal(b"w" * 16, 0, 0, 0, bytes(32)).index == 0
    assert store.info().catalog == ""
    assert store.delete(b"w" * 16) > 0
