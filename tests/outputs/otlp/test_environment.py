"""The standard environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from otel_netagent.outputs.otlp.environment import (
    Compression,
    Destination,
    OtlpConfigError,
    Protocol,
    Signal,
    destination,
)
from otel_netagent.outputs.sending.tls import Tls

BASE = "OTEL_EXPORTER_OTLP_"


def read(signal: Signal = Signal.METRICS, **settings: str) -> Destination:
    found = destination(signal, {BASE + key: value for key, value in settings.items()})
    assert found is not None
    return found


def refusal(**settings: str) -> str:
    with pytest.raises(OtlpConfigError) as error:
        read(Signal.METRICS, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("signal", Signal)
def test_without_an_endpoint_nothing_is_sent(signal: Signal) -> None:
    assert destination(signal, {}) is None
    assert destination(signal, {BASE + "ENDPOINT": " ", BASE + "PROTOCOL": "nonsense"}) is None


def test_endpoint_of_one_signal_sends_only_that() -> None:
    environ = {BASE + "LOGS_ENDPOINT": "http://a:4317"}
    assert destination(Signal.LOGS, environ) is not None
    assert destination(Signal.METRICS, environ) is None


def test_defaults() -> None:
    assert read(ENDPOINT="http://collector:4317") == Destination(
        Signal.METRICS, Protocol.GRPC, "collector:4317", None, {}, timeout_s=10.0, compression=Compression.NONE
    )


@pytest.mark.parametrize(
    ("endpoint", "target", "secure"),
    [
        ("http://collector:4317", "collector:4317", False),
        ("http://collector:4317/", "collector:4317", False),
        ("https://collector:4317", "collector:4317", True),
        ("https://collector", "collector:443", True),
        ("http://collector", "collector:80", False),
        ("http://[2001:db8::1]:4317", "[2001:db8::1]:4317", False),
    ],
)
def test_grpc_endpoint_with_a_scheme(endpoint: str, target: str, secure: bool) -> None:
    found = read(ENDPOINT=endpoint)
    assert (found.address, found.tls is not None) == (target, secure)


@pytest.mark.parametrize("target", ["collector:4317", "dns:///collector:4317", "unix:///run/otel.sock"])
def test_grpc_endpoint_without_a_scheme_needs_a_word_on_tls(target: str) -> None:
    assert read(ENDPOINT=target, INSECURE="true") == read(ENDPOINT=target, INSECURE="TRUE")
    assert read(ENDPOINT=target, INSECURE="true").tls is None
    assert read(ENDPOINT=target, INSECURE="false").tls == Tls()
    assert read(ENDPOINT=target, INSECURE="false", METRICS_INSECURE="true").tls is None
    line = refusal(ENDPOINT=target)
    assert line.startswith(f"OTEL_EXPORTER_OTLP_ENDPOINT={target}: ")
    assert f"http://{target} for a plain connection or https://{target} for TLS" in line


@pytest.mark.parametrize(
    ("signal", "settings", "url"),
    [
        (Signal.METRICS, {"ENDPOINT": "http://c:4318"}, "http://c:4318/v1/metrics"),
        (Signal.LOGS, {"ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/logs"),
        (Signal.LOGS, {"ENDPOINT": "https://c/otlp/"}, "https://c/otlp/v1/logs"),
        (Signal.LOGS, {"ENDPOINT": "http://c", "LOGS_ENDPOINT": "http://loki:3100/otlp"}, "http://loki:3100/otlp"),
        (Signal.METRICS, {"ENDPOINT": "http://c", "LOGS_ENDPOINT": "http://loki:3100/"}, "http://c/v1/metrics"),
        (Signal.LOGS, {"LOGS_ENDPOINT": "http://loki:3100/"}, "http://loki:3100/"),
    ],
)
def test_http_path_is_added_to_the_base_endpoint_only(signal: Signal, settings: dict[str, str], url: str) -> None:
    assert read(signal, PROTOCOL="http/protobuf", **settings).address == url


def test_settings_of_a_signal_take_precedence() -> None:
    found = read(
        Signal.LOGS,
        ENDPOINT="http://a:1",
        LOGS_PROTOCOL="http/protobuf",
        PROTOCOL="grpc",
        HEADERS="a=1,b=2",
        LOGS_HEADERS="c=3",
        TIMEOUT="2000",
        LOGS_TIMEOUT="3500",
        COMPRESSION="gzip",
        LOGS_COMPRESSION="none",
        METRICS_TIMEOUT="1",
    )
    assert found == Destination(
        Signal.LOGS, Protocol.HTTP, "http://a:1/v1/logs", None, {"c": "3"}, timeout_s=3.5, compression=Compression.NONE
    )


@pytest.mark.parametrize("compression", Compression)
def test_compression_by_http_is_any(compression: Compression) -> None:
    assert read(ENDPOINT="http://a:1", PROTOCOL="http/protobuf", COMPRESSION=compression.value) == read(
        ENDPOINT="http://a:1", PROTOCOL="http/protobuf", METRICS_COMPRESSION=compression.value
    )
    found = read(ENDPOINT="http://a:1", PROTOCOL="http/protobuf", COMPRESSION=compression.value)
    assert found.compression is compression


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, {Signal.METRICS, Signal.LOGS}),
        ({"OTEL_SDK_DISABLED": "True"}, set()),
        ({"OTEL_SDK_DISABLED": "false"}, {Signal.METRICS, Signal.LOGS}),
        ({"OTEL_METRICS_EXPORTER": "none"}, {Signal.LOGS}),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, {Signal.LOGS}),
        ({"OTEL_METRICS_EXPORTER": "prometheus, otlp"}, {Signal.METRICS, Signal.LOGS}),
        ({"OTEL_LOGS_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "otlp"}, {Signal.METRICS}),
    ],
)
def test_signals_can_be_switched_off(settings: dict[str, str], sent: set[Signal]) -> None:
    environ = {BASE + "ENDPOINT": "http://a:1", **settings}
    assert {signal for signal in Signal if destination(signal, environ)} == sent


def test_anything_else_than_true_disables_nothing_but_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert destination(Signal.LOGS, {BASE + "ENDPOINT": "http://a:1", "OTEL_SDK_DISABLED": "1"}) is not None
    assert "OTEL_SDK_DISABLED=1: treated as false; allowed are true and false" in caplog.text


@pytest.mark.parametrize(("signal", "value"), [(Signal.METRICS, "console"), (Signal.LOGS, "none,otlp")])
def test_exporter_that_does_not_exist_is_refused(signal: Signal, value: str) -> None:
    name = f"OTEL_{signal.name}_EXPORTER"
    with pytest.raises(OtlpConfigError, match=f"^{name}={value}: allowed are none, otlp"):
        destination(signal, {BASE + "ENDPOINT": "http://a:1", name: value})


def test_headers_are_percent_decoded_and_not_shown() -> None:
    found = read(ENDPOINT="http://a:1", HEADERS="Authorization=Basic%20c2VjcmV0==, x-scope=a b ,")
    assert found.headers == {"authorization": "Basic c2VjcmV0==", "x-scope": "a b"}
    assert "c2VjcmV0" not in repr(found)


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_.]{0,8}", fullmatch=True), st.text(st.characters(codec="ascii"))))
def test_any_printable_header_is_read_back(headers: dict[str, str]) -> None:
    printable = {key: "".join(char for char in value if char.isprintable()).strip() for key, value in headers.items()}
    written = ",".join(key + "=" + "".join(f"%{ord(char):02x}" for char in value) for key, value in printable.items())
    assert read(ENDPOINT="http://a:1", HEADERS=written).headers == printable


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL=http/json: allowed are grpc (the default) and"),
        ({"METRICS_PROTOCOL": "x"}, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=x: allowed are"),
        ({"TIMEOUT": "10"}, "OTEL_EXPORTER_OTLP_TIMEOUT=10: the unit is milliseconds"),
        ({"TIMEOUT": "10s"}, "OTEL_EXPORTER_OTLP_TIMEOUT=10s: the unit is milliseconds"),
        ({"COMPRESSION": "zstd"}, "OTEL_EXPORTER_OTLP_COMPRESSION=zstd: gRPC for Python has no zstd; allowed"),
        ({"COMPRESSION": "br"}, "OTEL_EXPORTER_OTLP_COMPRESSION=br: allowed are gzip, zstd (with http/protobuf only)"),
        ({"HEADERS": "a=1,secret"}, "OTEL_EXPORTER_OTLP_HEADERS: entry 2 is not of the form name=value"),
        ({"HEADERS": "a=b%0d%0ac"}, "OTEL_EXPORTER_OTLP_HEADERS: the value of header a contains characters"),
        ({"HEADERS": "x-bin=1"}, "OTEL_EXPORTER_OTLP_HEADERS: entry 1 is not of the form"),
        ({"ENDPOINT": "http://c:4318/v1/metrics"}, "a gRPC endpoint has no path; for OTLP over HTTP set"),
        ({"ENDPOINT": "http://:4317"}, "not a URL with a host and a valid port"),
        ({"ENDPOINT": "http://c:99999"}, "not a URL with a host and a valid port"),
        ({"ENDPOINT": "http://[::1"}, "not a URL with a host and a valid port"),
        ({"ENDPOINT": "c:4318", "PROTOCOL": "http/protobuf"}, "write it with its scheme: http://host:4318"),
        ({"ENDPOINT": "c:4317", "INSECURE": "yes"}, "OTEL_EXPORTER_OTLP_INSECURE=yes: allowed are true and false"),
        ({"ENDPOINT": "https://c", "CERTIFICATE": "/nope"}, "_CERTIFICATE=/nope: cannot read a PEM file"),
        ({"ENDPOINT": "https://c", "CLIENT_KEY": "/k"}, "CLIENT_CERTIFICATE and CLIENT_KEY must both be set"),
    ],
)
def test_bad_value_is_one_line_that_names_the_variable(settings: dict[str, str], says: str) -> None:
    assert says in refusal(**{"ENDPOINT": "http://collector:4317", **settings})


def test_secrets_are_not_repeated() -> None:
    assert "pw" not in refusal(ENDPOINT="http://user:pw@collector:4317")
    assert "s3cret" not in refusal(ENDPOINT="http://c:1", HEADERS="s3cret")


def test_tls_files_are_tried_at_once(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    client, stranger = authority.issue_cert("client"), other.issue_cert("client")
    files = {name: str(tmp_path / name) for name in ("ca", "cert", "key", "other", "rubbish")}
    authority.cert_pem.write_to_path(files["ca"])
    client.cert_chain_pems[0].write_to_path(files["cert"])
    client.private_key_pem.write_to_path(files["key"])
    stranger.private_key_pem.write_to_path(files["other"])
    Path(files["rubbish"]).write_text("no certificate")

    found = read(
        ENDPOINT="https://c", CERTIFICATE=files["ca"], CLIENT_CERTIFICATE=files["cert"], CLIENT_KEY=files["key"]
    )
    assert found.tls == Tls(files["ca"], files["cert"], files["key"])
    assert "CERTIFICATE" in refusal(ENDPOINT="https://c", CERTIFICATE=files["rubbish"])
    line = refusal(ENDPOINT="https://c", CLIENT_CERTIFICATE=files["cert"], CLIENT_KEY=files["other"])
    assert f"cannot be used with OTEL_EXPORTER_OTLP_CLIENT_KEY={files['other']}" in line
