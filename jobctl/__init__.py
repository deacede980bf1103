"""jobctl launches web applications in containers, each with its own port, TLS and password.

What programs use is in ``__all__``; each name is imported when it is first asked for, so that
``import jobctl`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobctl.arrays import numbered
    from jobctl.batch import Outcome
    from jobctl.broker import Broker
    from jobctl.config import load as load_config
    from jobctl.errors import JobctlError
    from jobctl.job import Job
    from jobctl.orders import Order
    from jobctl.passwords import generate as generate_password

__all__ = ["Broker", "Job", "JobctlError", "Order", "Outcome", "generate_password", "load_config"]
__all__ += ["numbered"]

__version__ = "0.1.0"

_HOMES = {
    "Broker": ("jobctl.broker", "Broker"),
    "Job": ("jobctl.job", "Job"),
    "JobctlError": ("jobctl.errors", "JobctlError"),
    "Order": ("jobctl.orders", "Order"),
    "Outcome": ("jobctl.batch", "Outcome"),
    "generate_password": ("jobctl.passwords", "generate"),
    "load_config": ("jobctl.config", "load"),
    "numbered": ("jobctl.arrays", "numbered"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
