"""The shipped data is what was published, and the fleet made of it is what its docstring says."""

import csv
from pathlib import Path

import numpy as np
import pytest

from faultset_ray import datasets
from faultset_ray.errors import InputError

EARTH_KM = 6371.0
FIBRE_KM_PER_MS = 200.0


def test_the_matrix_names_its_regions_in_one_order():
    regions = datasets.azure_regions()
    names, rtt_ms = datasets.azure_rtt_ms()
    assert names == regions.names == tuple(sorted(names))
    assert rtt_ms.shape == (51, 51)
    with (Path(datasets.__file__).parent / "azure_rtt_ms.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(row["from"] for row in rows) == names
    assert rtt_ms[names.index("westeurope"), names.index("eastus")] == float(
        next(row for row in rows if row["from"] == "westeurope")["eastus"]
    )


def test_published_figures():
    """Four cells read by eye from the published table, one without a figure."""
    names, rtt_ms = datasets.azure_rtt_ms()
    at = names.index
    assert rtt_ms[at("australiacentral"), at("brazilsouth")] == 302
    assert rtt_ms[at("australiacentral"), at("australiacentral2")] == 3
    assert rtt_ms[at("australiacentral2"), at("australiacentral")] == 4
    assert rtt_ms[at("australiasoutheast"), at("newzealandnorth")] == 40
    assert np.isnan(rtt_ms[at("australiacentral"), at("jioindiawest")])


def test_no_round_trip_is_faster_than_light_in_fibre():
    """Rows swapped against columns, or against coordinates, would show here."""
    regions = datasets.azure_regions()
    rtt_ms = datasets.azure_rtt_ms()[1]
    lat, lon = np.radians(regions.lat), np.radians(regions.lon)
    cosine = np.sin(lat)[:, None] * np.sin(lat) + np.cos(lat)[:, None] * np.cos(lat) * np.cos(lon[:, None] - lon)
    km = EARTH_KM * np.arccos(np.clip(cosine, -1, 1))
    published = ~np.isnan(rtt_ms)
    assert published.sum() == 2350
    assert (rtt_ms[published] >= 2 * km[published] / FIBRE_KM_PER_MS * 0.95).all()


def test_both_directions_nearly_agree():
    rtt_ms = datasets.azure_rtt_ms()[1]
    both = ~np.isnan(rtt_ms) & ~np.isnan(rtt_ms.T)
    assert both.sum() > 2000
    assert np.nanmax(np.abs(rtt_ms - rtt_ms.T)[both]) <= 15


def test_shared_columns_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        datasets.azure_rtt_ms()[1][0, 1] = 0
    with pytest.raises(ValueError, match="read-only"):
        datasets.azure_regions().lat[0] = 0


@pytest.mark.parametrize("observer", ["westeurope", "indonesiacentral", "westindia", "jioindiawest"])
def test_fleet_lies_within_its_stated_bounds(observer):
    regions = datasets.azure_regions()
    names, rtt_ms = datasets.azure_rtt_ms()
    fleet = datasets.azure_fleet(observer, per_region=3, seed=7)
    assert len(fleet) == 3 * len(names)
    assert list(fleet.ids[:3]) == ["australiacentral-01", "australiacentral-02", "australiacentral-03"]
    for i, node in enumerate(fleet.ids):
        region = str(node).rpartition("-")[0]
        there, here = names.index(region), names.index(observer)
        assert abs(fleet.lat[i] - regions.lat[there]) <= datasets.SCATTER_DEG + 1e-4
        assert abs(fleet.lon[i] - regions.lon[there]) <= datasets.SCATTER_DEG + 1e-4
        median = rtt_ms[here, there] if not np.isnan(rtt_ms[here, there]) else rtt_ms[there, here]
        if there == here:
            median = datasets.OWN_REGION_MS
        if np.isnan(median):
            assert np.isnan(fleet.latency_ms[i])
        else:
            assert abs(fleet.latency_ms[i] - median) <= datasets.JITTER * median + 1e-3


def test_fleet_is_a_function_of_its_arguments():
    one, again = (datasets.azure_fleet("eastus", 2, seed=1) for _ in range(2))
    other = datasets.azure_fleet("eastus", 2, seed=2)
    for column in ("lat", "lon", "latency_ms"):
        np.testing.assert_array_equal(getattr(one, column), getattr(again, column))
        assert not np.array_equal(getattr(one, column), getattr(other, column), equal_nan=True)
    assert list(one.ids) == list(other.ids)


def test_fleet_does_not_depend_on_the_machine():
    """First values of one seed, written down."""
    fleet = datasets.azure_fleet("westeurope", 1, seed=0)
    assert (fleet.lat[0], fleet.lon[0], fleet.latency_ms[0]) == (-35.2993, 149.1088, 261.668)


def test_unknown_observer_is_answered_with_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'westeurope'"):
        datasets.azure_fleet("west-europe")


@pytest.mark.parametrize(
    ("name", "value"), [("per_region", 0), ("per_region", True), ("per_region", 1.5), ("seed", -1)]
)
def test_counts_are_checked(name, value):
    with pytest.raises(InputError, match=name):
        datasets.azure_fleet("westeurope", **{name: value})
