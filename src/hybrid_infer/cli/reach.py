"""Whether an address can be reached: its name, the connection, TLS. Nothing is asked of the server."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hybrid_infer.cli.checks import Check
from hybrid_infer.errors import ConfigurationError
from hybrid_infer.transport.environment import proxy_for, tls_context

if TYPE_CHECKING:
    from hybrid_infer.transport.base import Origin


def reach(origin: Origin, environ: Mapping[str, str], *, timeout: float) -> Check:
    """Connect and hang up, within `timeout` seconds a step.

    Where a proxy is on the way, only the proxy is tried: what it lets through, a call will tell.
    """
    subject = f"reach {origin}"
    try:
        proxy = proxy_for(origin, environ)
        context = tls_context(environ) if origin.scheme == "https" else None
    except ConfigurationError as error:
        return Check(
            subject=subject, state="problem", finding=str(error), fix="correct or unset the variable"
        )
    host, port = (origin.host, origin.port) if proxy is None else (proxy.host, proxy.port)
    through = "" if proxy is None else f"its proxy {proxy}: "
    try:
        with socket.create_connection((host, port), timeout=timeout) as connection:
            if context is None or proxy is not None:
                return Check(subject=subject, state="ok", finding=f"{through}connected")
            with context.wrap_socket(connection, server_hostname=host) as secured:
                return Check(subject=subject, state="ok", finding=f"connected, {secured.version()}")
    except socket.gaierror:
        finding = f"the name {host} does not resolve"
        fix = "check the address, and whether this machine has a network"
    except ssl.SSLCertVerificationError as error:
        finding = f"its certificate is not trusted: {error.verify_message}"
        fix = (
            "if a firewall or your own authority signs it, set SSL_CERT_FILE to that authority's certificate"
        )
    except OSError as error:
        why = (
            "no answer in time" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        )
        finding = f"no connection to {host}:{port}: {why}"
        fix = "check address and port, firewall and proxy variables"
    return Check(subject=subject, state="problem", finding=through + finding, fix=fix)
