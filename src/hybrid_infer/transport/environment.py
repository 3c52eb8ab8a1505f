"""What the environment says about the way to a server: limits, proxies, trusted certificates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from hybrid_infer.errors import ConfigurationError
from hybrid_infer.transport.base import Origin

if TYPE_CHECKING:
    from ssl import SSLContext

_PORTS = {"http": 80, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long connecting may take (seconds), and how many connections there may be.

    Attributes:
        connect_timeout: seconds to open a connection, TLS included.
        max_connections: connections in use at one time; further requests wait for one.
        max_keepalive: idle connections that are kept for the next request.
        keepalive_expiry: seconds an idle connection is kept.
    """

    connect_timeout: float
    max_connections: int
    max_keepalive: int
    keepalive_expiry: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy on the way: its address without credentials, its user and password, and who named it."""

    scheme: str
    host: str
    port: int
    variable: str
    auth: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")

    @property
    def authorization(self) -> str | None:
        """Value of the header `proxy-authorization` (RFC 7617)."""
        if self.auth is None:
            return None
        from base64 import b64encode

        return "Basic " + b64encode(":".join(self.auth).encode()).decode()

    def __str__(self) -> str:
        return f"{self.url} (from {self.variable})"


def proxy_for(origin: Origin, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that requests to `origin` go through.

    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count, in lower case (first) and upper case, read as
    Python's `urllib.request` reads them: an empty lower-case variable hides the upper-case one, and
    HTTP_PROXY is not believed inside a CGI script (REQUEST_METHOD is set), where a request can set it.
    Loopback is no exception.

    Raises:
        ConfigurationError: the variable does not hold the address of a proxy that can be used.
    """
    named = _named(origin.scheme, environ) or _named("all", environ)
    if named is None:
        return None
    excluded = environ.get("no_proxy", environ.get("NO_PROXY", ""))
    return None if _excluded(origin, excluded) else _proxy(*named)


def uses_socks(environ: Mapping[str, str]) -> bool:
    """Whether any of the proxy variables names a SOCKS proxy."""
    named = [_named(scheme, environ) for scheme in ("http", "https", "all")]
    return any(value.lower().startswith("socks") for _, value in filter(None, named))


def check_socks(proxy: Proxy) -> None:
    """SOCKS needs a package that httpx and httpcore do not bring along.

    Raises:
        ConfigurationError: it is not installed.
    """
    if proxy.is_socks and find_spec("socksio") is None:
        raise ConfigurationError(
            f'{proxy.variable}: a SOCKS proxy needs one more package: pip install "httpx[socks]"'
        )


def tls_context(environ: Mapping[str, str]) -> SSLContext:
    """What is trusted: SSL_CERT_FILE and SSL_CERT_DIR where one is set, else the certificates of `certifi`.

    Equal variables give the same context: reading the certificates takes some 20 ms.

    Raises:
        ConfigurationError: a variable names something that cannot be read, or holds no certificate.
    """
    return _tls_context(environ.get("SSL_CERT_FILE") or None, environ.get("SSL_CERT_DIR") or None)


def _named(scheme: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable that names the proxy for a scheme, and its value."""
    variable = f"{scheme}_proxy"
    if variable not in environ and not (scheme == "http" and "REQUEST_METHOD" in environ):
        variable = variable.upper()
    value = environ.get(variable, "").strip()
    return (variable, value) if value else None


def _excluded(origin: Origin, names: str) -> bool:
    """Whether NO_PROXY lists the host: by name, name and port, the end of the name, or `*` for all."""
    host = origin.host.lower()
    for name in names.lower().split(","):
        name = name.strip().lstrip(".").replace("[", "").replace("]", "")
        for known in (host, f"{host}:{origin.port}"):
            if name and (name in (known, "*") or known.endswith(f".{name}")):
                return True
    return False


def _proxy(variable: str, value: str) -> Proxy:
    wrong = ConfigurationError(f"{variable}: is not the address of a proxy, like http://host:3128")
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if not host:
        raise wrong
    if parts.scheme not in _PORTS:
        raise ConfigurationError(
            f"{variable}: a proxy is reached over http:// or socks5://, not {parts.scheme}:// "
            f"(most proxies answer at http://{host}:{port or 3128}, for https addresses too)"
        )
    auth = None
    if parts.username is not None:
        auth = unquote(parts.username), unquote(parts.password or "")
    return Proxy(
        scheme=parts.scheme, host=host, port=port or _PORTS[parts.scheme], variable=variable, auth=auth
    )


@lru_cache(maxsize=8)
def _tls_context(file: str | None, folder: str | None) -> SSLContext:
    import ssl

    if file is None and folder is None:
        import certifi

        context = ssl.create_default_context(cafile=certifi.where())
    else:
        if folder is not None and not all(Path(part).is_dir() for part in folder.split(":")):
            raise ConfigurationError(f"SSL_CERT_DIR={folder}: no such folder")
        try:
            context = ssl.create_default_context(cafile=file, capath=folder)
        except ssl.SSLError:
            raise ConfigurationError(f"SSL_CERT_FILE={file}: holds no certificate in PEM form") from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ConfigurationError(f"SSL_CERT_FILE={file}: cannot be read: {reason}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context
