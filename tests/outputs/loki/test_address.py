"""Where an address of the configuration leads."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_netagent.outputs.loki.address import LokiAddressError, own_headers, push_url

PUSH = "/loki/api/v1/push"


@pytest.mark.parametrize(("address", "url"), [
    ("loki", f"http://loki:3100{PUSH}"),
    ("10.0.0.7", f"http://10.0.0.7:3100{PUSH}"),
    ("loki.monitoring.svc:80", f"http://loki.monitoring.svc:80{PUSH}"),
    ("[fd00::1]", f"http://[fd00::1]:3100{PUSH}"),
    ("[fd00::1]:3101", f"http://[fd00::1]:3101{PUSH}"),
    ("http://loki", f"http://loki{PUSH}"),
    ("https://logs.example/tenant/", f"https://logs.example/tenant{PUSH}"),
])  # fmt: skip
def test_address_leads_to_the_push_api(address: str, url: str) -> None:
    assert push_url(address) == url


@pytest.mark.parametrize("address", ["lo ki", "ftp://loki", "loki:port", "loki:0", "loki:99999", "http://", "loki?x=1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(LokiAddressError, match="is not an address of Loki; write loki, loki:3100 or https"):
        push_url(address)


def test_credentials_are_not_repeated() -> None:
    with pytest.raises(LokiAddressError, match="LOKI_AUTHORIZATION") as error:
        push_url("https://me:secret@loki")
    assert "secret" not in str(error.value)


def test_no_address_means_the_service_beside_the_agent(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("kube-system\n")
    assert push_url("", tmp_path / "namespace") == f"http://grafana-loki.kube-system.svc:3100{PUSH}"


def test_no_address_outside_kubernetes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LokiAddressError, match=r"does not run in a pod.* set it to Loki's address, as loki:3100"):
        push_url("", tmp_path / "namespace")


def test_what_the_environment_says_goes_along() -> None:
    environ = {"LOKI_AUTHORIZATION": " Basic dXNlcjpwYXNz\n", "LOKI_TENANT": "shop", "OTHER": "x"}
    assert own_headers(environ) == {"Authorization": "Basic dXNlcjpwYXNz", "X-Scope-OrgID": "shop"}
    assert own_headers({}) == {}


@pytest.mark.parametrize("value", ["Basic " + "x" * 76 + "\n" + "y", "Bearer \u20ac", "a\tb"])
@pytest.mark.parametrize("variable", ["LOKI_AUTHORIZATION", "LOKI_TENANT"])
def test_what_no_header_may_hold_is_refused_without_showing_it(variable: str, value: str) -> None:
    with pytest.raises(
        LokiAddressError, match=f"^{variable} contains a line break or another character that a header must not contain"
    ) as error:
        own_headers({variable: value})
    assert value not in str(error.value)
