"""What holds for all tests."""

import os

from hypothesis import HealthCheck, settings

# On a busy machine making an example may take a second, which says nothing about the program.  In CI the
# examples are the same in every run, so that a failure is one of the change and not of the day.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
