"""A head and eight stores in four regions, as tests in one process have them."""

from faultset_ray.backend.protocol import Place

PLACES = [
    Place("head"),
    *(Place(f"p{index}", {"faultset.io/store": "true", "faultset.io/region": f"r{index % 4}"}) for index in range(8)),
]
