"""How thorough the tests are: as every change needs it, or as a night allows."""

from __future__ import annotations

import os

NIGHTLY = os.environ.get("JOBCTL_TEST_PROFILE") == "nightly"
