"""Lets a notebook import what its ``%pip`` just installed: read by every kernel as it starts.

Python looks for the directory of the user's packages only then, and remembers what isn't there.
"""

import site
import sys
from contextlib import suppress
from pathlib import Path

packages = site.getusersitepackages()
with suppress(OSError):
    Path(packages).mkdir(parents=True, exist_ok=True)
    if packages not in sys.path:
        sys.path.append(packages)
