"""How the unit tests search for counterexamples."""

from hypothesis import settings

# A slow machine is no counterexample.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
