"""Conduit's relay server: browse a data file and watch it change.

Behind the gateway it speaks plain HTTP where that alone reaches it, and needs no configuration
file: everything is on its command line.
"""

import shlex
from collections.abc import Mapping
from typing import Any

from jobctl.helpers import gen_cert, gen_config, get_password

__all__ = ["gen_cert", "gen_config", "get_launch_cmd", "get_password"]


def get_launch_cmd(job: Mapping[str, Any]) -> str:
    """Serve the data file that the user named, or the sample that comes with the image."""
    options = job["options"]
    command = [job["app_path"], "--address", job["listen"]]
    command += ["--port", str(job["app_port"])]
    command += ["--doc-root", options["doc_root"]]
    return shlex.join(command + (job["args"] or [options["sample"]]))
