"""What holds for all tests."""

from hypothesis import settings

settings.register_profile("ours", deadline=None)  # how long one example takes tells how busy the machine is
settings.load_profile("ours")
