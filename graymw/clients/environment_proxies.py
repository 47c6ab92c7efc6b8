"""Proxies named by the environment (``HTTP_PROXY`` and the like), and why a routed call passes them by.

Whether a proxy applies is decided by the library from the logical name. A routed call then goes to an address that
the registry gave: an address of the own network, on a laptop often loopback, which the environment's proxy cannot
reach or would take for its own. ``NO_PROXY`` cannot name what changes with every deployment. So routed calls go there
directly; a proxy that the application itself gave to its client is kept.
"""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080, "socks4": 1080, "socks4a": 1080}


def is_environment_proxy(url: str) -> bool:
    """Whether a proxy's URL is one that the environment names.

    Args:
        url: With or without scheme, user and path.
    """
    wanted = _authority(url)
    return wanted is not None and any(_authority(proxy) == wanted for proxy in getproxies().values())


def _authority(url: str) -> tuple[str, int | None] | None:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        return (parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme.lower()))
    except ValueError:
        return None
