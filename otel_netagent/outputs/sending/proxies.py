"""The HTTP proxy that the environment asks for: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as curl reads them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass


def proxy_to(url: str) -> str | None:
    """URL of the proxy for this URL; None for a direct connection. NO_PROXY may name networks: `10.0.0.0/8`."""
    target, proxies = urlsplit(url), getproxies_environment()
    proxy = proxies.get(target.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(target.netloc.rpartition("@")[2]):
        return None
    if any(_has(network.strip(), target.hostname or "") for network in proxies.get("no", "").split(",")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _has(network: str, host: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:  # one of them is a host name
        return False
