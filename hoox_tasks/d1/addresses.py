"""Which addresses the token, and a ledger's content, may be sent to."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

import httpx

from hoox_tasks.errors import Refused

_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)\Z", re.IGNORECASE)
"""How a name ends that systems take for an IPv4 address, `127.1` and `0x7f000001` among them."""
_INSIDE = ("localhost", "local", "internal", "lan", "arpa")
"""Domains that no public host is in (RFC 6761, 6762, 8375)."""


def check_address(base_url: str) -> bool:
    """Refuse an address of the API that the token should not be sent to; gives whether it is on loopback."""
    remedy = "Set CLOUDFLARE_API_BASE_URL to https://..., or to http:// on 127.0.0.1 or localhost."
    parts = _split(base_url)
    if parts is None or "@" in parts.netloc or parts.query or parts.fragment:
        raise Refused("The address of the Cloudflare API is not a plain http or https address.", remedy)
    host = parts.hostname or ""
    loopback = host == "localhost" or _is_loopback(host)
    if parts.scheme == "http" and not loopback:
        raise Refused(f"The token would travel to {host} unencrypted.", remedy)
    return loopback


def is_public(url: str) -> bool:
    """Whether an address is encrypted, and of a host that everybody can reach.

    A name is not resolved: whoever answers by it must prove, by TLS, to be whom it names.
    """
    parts = _split(url)
    if parts is None or parts.scheme != "https" or "@" in parts.netloc:
        return False
    host = (parts.hostname or "").rstrip(".")
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        domain = host.rpartition(".")[2]
        return "." in host and domain not in _INSIDE and not _NUMBER.match(domain)


def _split(url: str) -> SplitResult | None:
    """Take an http or https address apart; None where it is none."""
    try:
        httpx.URL(url)
        parts = urlsplit(url)
        _ = parts.port
    except (ValueError, httpx.InvalidURL):
        return None
    return parts if parts.hostname and parts.scheme in ("http", "https") else None


def _is_loopback(host: str) -> bool:
    """Whether it is an address of this machine, and not a name that looks like one."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
