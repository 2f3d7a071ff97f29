"""How Hypothesis draws: for the suite as it does by itself, there or under CI, and for fuzzing always anew."""

from hypothesis import settings

# how long one example takes tells how busy the machine is
settings.register_profile("tests", deadline=None)
settings.register_profile("fuzz", settings.get_profile("default"), deadline=None)
settings.load_profile("tests")
