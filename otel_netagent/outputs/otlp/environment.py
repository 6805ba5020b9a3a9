"""The destinations of OTLP, from the standard `OTEL_*` environment variables.

Source: OpenTelemetry specification, "OpenTelemetry Protocol Exporter" and "Environment Variable
Specification". Each `OTEL_EXPORTER_OTLP_*` exists for all signals (`OTEL_EXPORTER_OTLP_TIMEOUT`) and for
one (`OTEL_EXPORTER_OTLP_LOGS_TIMEOUT`), which takes precedence; an empty one counts as not set. SDKs differ in three
points: here the default protocol is `grpc`, as in OpenTelemetry's SDK for Python; timeouts are milliseconds, as the
specification says (that SDK reads seconds); and compression may also be `zstd`, which the specification does not name
but the collector accepts over HTTP.
"""

from __future__ import annotations

import enum
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from otel_netagent.outputs.sending.tls import Tls

logger = logging.getLogger(__name__)

_DEFAULT_TIMEOUT_MS = 10_000
_LEAST_TIMEOUT_MS = 100


class Signal(enum.Enum):
    """A kind of telemetry: metrics or logs."""

    METRICS = "metrics"
    LOGS = "logs"


class Protocol(enum.Enum):
    """A protocol that carries OTLP, as `OTEL_EXPORTER_OTLP_PROTOCOL` names it."""

    GRPC = "grpc"
    HTTP = "http/protobuf"


class Compression(enum.Enum):
    """How a request is compressed, as `OTEL_EXPORTER_OTLP_COMPRESSION` names it."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class OtlpConfigError(ValueError):
    """The value of a variable cannot be used; the message is one line: which variable, why, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where and how one signal is sent.

    `address` is a URL for HTTP, and a target name (`host:port`, `unix:path`) for gRPC.
    Without `tls` the connection is not encrypted. `headers` may hold secrets and are not shown.
    """

    signal: Signal
    protocol: Protocol
    address: str
    tls: Tls | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = _DEFAULT_TIMEOUT_MS / 1000
    compression: Compression = Compression.NONE


def destination(signal: Signal, environ: Mapping[str, str]) -> Destination | None:
    """Where this signal is sent; None if no endpoint is set or it is switched off. Raises OtlpConfigError."""
    variables = _Variables(signal, environ)
    endpoint = variables.get("ENDPOINT")
    if _disabled(environ) or not _exports_otlp(signal, environ) or endpoint is None:
        return None
    protocol = _protocol(variables)
    if protocol is Protocol.GRPC:
        address, secure = _grpc_target(endpoint, variables)
    else:
        address, secure = _http_url(endpoint, signal)
    return Destination(
        signal=signal,
        protocol=protocol,
        address=address,
        tls=_tls(variables) if secure else None,
        headers=_headers(variables),
        timeout_s=_timeout_s(variables),
        compression=_compression(variables, protocol),
    )


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    value: str
    of_signal: bool

    def error(self, problem: str) -> OtlpConfigError:
        return OtlpConfigError(f"{self.name}={self.value}: {problem}")

    def hidden_error(self, problem: str) -> OtlpConfigError:
        """An error that does not repeat the value, which may be a secret."""
        return OtlpConfigError(f"{self.name}: {problem}")


@dataclass(frozen=True, slots=True)
class _Variables:
    signal: Signal
    environ: Mapping[str, str]

    def get(self, setting: str) -> _Variable | None:
        for prefix, of_signal in ((f"{self.signal.name}_", True), ("", False)):
            name = f"OTEL_EXPORTER_OTLP_{prefix}{setting}"
            if value := self.environ.get(name, "").strip():
                return _Variable(name, value, of_signal)
        return None


def _protocol(variables: _Variables) -> Protocol:
    variable = variables.get("PROTOCOL")
    if variable is None:
        return Protocol.GRPC
    try:
        return Protocol(variable.value)
    except ValueError:
        raise variable.error("allowed are grpc (the default) and http/protobuf") from None


def _grpc_target(endpoint: _Variable, variables: _Variables) -> tuple[str, bool]:
    """The target, and whether to use TLS."""
    if not endpoint.value.startswith(("http://", "https://")):
        return endpoint.value, not _insecure(endpoint, variables)
    url = _url(endpoint)
    if url.path not in {"", "/"} or url.query:
        raise endpoint.error(
            "a gRPC endpoint has no path; for OTLP over HTTP set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        )
    secure = url.scheme == "https"
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    return f"{host}:{url.port or (443 if secure else 80)}", secure


def _insecure(endpoint: _Variable, variables: _Variables) -> bool:
    """What `INSECURE` says for an endpoint without a scheme, where nothing else says whether to use TLS."""
    variable = variables.get("INSECURE")
    if variable is None:
        raise endpoint.error(
            f"write http://{endpoint.value} for a plain connection or https://{endpoint.value} for TLS "
            "(or set OTEL_EXPORTER_OTLP_INSECURE to true or false)"
        )
    if variable.value.lower() not in {"true", "false"}:
        raise variable.error("allowed are true and false")
    return variable.value.lower() == "true"


def _http_url(endpoint: _Variable, signal: Signal) -> tuple[str, bool]:
    """The URL, and whether to use TLS. The signal's path is added to a base endpoint only."""
    if not endpoint.value.startswith(("http://", "https://")):
        raise endpoint.error("write it with its scheme: http://host:4318 or https://host:4318")
    url = _url(endpoint)
    if not endpoint.of_signal:
        url = url._replace(path=f"{url.path.rstrip('/')}/v1/{signal.value}")
    return url.geturl(), url.scheme == "https"


def _url(endpoint: _Variable) -> SplitResult:
    try:
        url = urlsplit(endpoint.value)
        valid = bool(url.hostname) and url.port != 0  # raises if the port is not a number
    except ValueError:
        valid = False
    if not valid:
        raise endpoint.error("not a URL with a host and a valid port, as http://host:4317")
    if url.username is not None:
        raise endpoint.hidden_error(
            "credentials do not belong in the URL; set OTEL_EXPORTER_OTLP_HEADERS=authorization=Basic%20..."
        )
    return url


def _headers(variables: _Variables) -> dict[str, str]:
    """Headers as W3C Baggage writes them: `key=value` separated by commas, values percent-encoded."""
    variable = variables.get("HEADERS")
    headers = {}
    for number, entry in enumerate(variable.value.split(",") if variable else (), start=1):
        if variable is None or not entry.strip():
            continue
        key, equals, value = entry.partition("=")
        key, value = unquote(key).strip().lower(), unquote(value).strip()
        # Both HTTP and gRPC accept lower-case names and printable ASCII values. gRPC's binary headers (`-bin`) cannot
        # be written here.
        if not equals or not re.fullmatch(r"[0-9a-z_.-]+", key) or key.endswith("-bin"):
            raise variable.hidden_error(f"entry {number} is not of the form name=value; separate entries by commas")
        if not re.fullmatch(r"[ -~]*", value):
            raise variable.hidden_error(f"the value of header {key} contains characters that a header must not contain")
        headers[key] = value
    return headers


def _timeout_s(variables: _Variables) -> float:
    variable = variables.get("TIMEOUT")
    if variable is None:
        return _DEFAULT_TIMEOUT_MS / 1000
    if not variable.value.isdecimal() or int(variable.value) < _LEAST_TIMEOUT_MS:
        raise variable.error(f"the unit is milliseconds: write a whole number of at least {_LEAST_TIMEOUT_MS}")
    return int(variable.value) / 1000


def _compression(variables: _Variables, protocol: Protocol) -> Compression:
    variable = variables.get("COMPRESSION")
    if variable is None:
        return Compression.NONE
    try:
        compression = Compression(variable.value)
    except ValueError:
        raise variable.error("allowed are gzip, zstd (with http/protobuf only) and none (the default)") from None
    if compression is Compression.ZSTD and protocol is Protocol.GRPC:
        raise variable.error(
            "gRPC for Python has no zstd; allowed with the protocol grpc are gzip and none (the default), "
            "or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        )
    return compression


def _disabled(environ: Mapping[str, str]) -> bool:
    """Whether OTEL_SDK_DISABLED is true. As the specification demands, any other value is false, with a warning."""
    value = environ.get("OTEL_SDK_DISABLED", "").strip()
    if value.lower() not in {"", "true", "false"}:
        logger.warning("OTEL_SDK_DISABLED=%s: treated as false; allowed are true and false", value)
    return value.lower() == "true"


def _exports_otlp(signal: Signal, environ: Mapping[str, str]) -> bool:
    """Whether OTLP is among the exporters that OTEL_METRICS_EXPORTER or OTEL_LOGS_EXPORTER names, if that is set."""
    variable = _Variable(f"OTEL_{signal.name}_EXPORTER", environ.get(f"OTEL_{signal.name}_EXPORTER", "").strip(), True)
    names = {name.strip() for name in variable.value.split(",")} - {""}
    # The agent serves /metrics in any case: naming it changes nothing.
    allowed = {"otlp", "none"} | ({"prometheus"} if signal is Signal.METRICS else set())
    if not names <= allowed or ("none" in names and len(names) > 1):
        raise variable.error(f"allowed are {', '.join(sorted(allowed))}; none stands alone")
    return not names or "otlp" in names


def _tls(variables: _Variables) -> Tls:
    """The TLS files, loaded once as a check: the errors of the libraries later would not name the variable."""
    ca = variables.get("CERTIFICATE")
    certificate = variables.get("CLIENT_CERTIFICATE")
    key = variables.get("CLIENT_KEY")
    if ca is not None:
        try:
            Tls(ca.value).check()
        except OSError as error:
            raise ca.error(f"cannot read a PEM file of certificates ({error})") from None
    if certificate is not None and key is not None:
        try:
            Tls(None, certificate.value, key.value).check()
        except OSError as error:
            raise certificate.error(f"cannot be used with {key.name}={key.value} ({error})") from None
    elif half := certificate or key:
        raise half.error("CLIENT_CERTIFICATE and CLIENT_KEY must both be set")
    return Tls(*(variable.value if variable else None for variable in (ca, certificate, key)))
