"""JupyterLab, which does TLS and checks the password itself: its configuration says with what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobctl.helpers import gen_cert, get_launch_cmd, get_password, write_file

__all__ = ["gen_cert", "gen_config", "get_launch_cmd", "get_password"]

# Of TLS 1.2, those of the gateway; Python's own choice has CBC and SHA-1 among them.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def gen_config(job: Mapping[str, Any]) -> str:
    """Write what ``jupyter lab --config`` reads; it holds the password's hash."""
    root = job["job_root"] + job["job_id"]
    settings = {
        "ServerApp.ip": "0.0.0.0",  # noqa: S104, inside the container
        "ServerApp.port": job["app_port"],
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.certfile": root + ".crt",
        "ServerApp.keyfile": root + ".key",
        "ServerApp.ssl_options": {"ciphers": CIPHERS},
        "ServerApp.root_dir": job["directory"],
        "ServerApp.allow_remote_access": True,
        # On a rootless engine, root inside the container is the user who launches it.
        "ServerApp.allow_root": True,
        # Without a token, the password is the only way in; it can't be changed from inside.
        "IdentityProvider.token": "",
        "PasswordIdentityProvider.hashed_password": job["password_hash"],
        "PasswordIdentityProvider.allow_password_change": False,
        "PasswordIdentityProvider.password_required": True,
        # Sockets that are files, which no other container could reach: kernels have no password.
        "KernelManager.transport": "ipc",
        # Nothing is fetched from elsewhere, and nobody asked whether it may be.
        "LabApp.news_url": None,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
    }
    lines = (f"c.{name} = {value!r}\n" for name, value in settings.items())
    return write_file(job, "_config.py", "".join(lines))
