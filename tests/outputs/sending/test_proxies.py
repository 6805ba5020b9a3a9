"""Which proxy is taken, as the environment says, and that what is posted goes by way of it."""

from __future__ import annotations

import pytest

from otel_netagent.outputs.sending.http_post import Post
from otel_netagent.outputs.sending.proxies import proxy_to
from tests.outputs.otlp.receivers import HttpAnswer, http_receiver


@pytest.fixture(autouse=True)
def _no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, "http://loki:3100/push", None),
        ({"HTTP_PROXY": "http://squid:3128"}, "http://loki:3100/push", "http://squid:3128"),
        ({"http_proxy": "squid:3128"}, "http://loki:3100/push", "http://squid:3128"),
        ({"HTTP_PROXY": "http://squid:3128"}, "https://loki/push", None),
        ({"ALL_PROXY": "http://squid:3128"}, "https://loki/push", "http://squid:3128"),
        ({"HTTP_PROXY": "squid", "NO_PROXY": "a, .cluster.local"}, "http://loki.cluster.local/push", None),
        ({"HTTP_PROXY": "squid", "NO_PROXY": "loki:3101"}, "http://loki:3100/push", "http://squid"),
        ({"HTTP_PROXY": "squid", "NO_PROXY": "a,10.0.0.0/8"}, "http://10.1.2.3:3100/push", None),
        ({"HTTP_PROXY": "squid", "NO_PROXY": "fd00::/8"}, "http://[fd00::1]:3100/push", None),
        ({"HTTP_PROXY": "squid", "NO_PROXY": "10.0.0.0/8"}, "http://11.1.2.3:3100/push", "http://squid"),
        ({"HTTP_PROXY": "squid", "NO_PROXY": "*"}, "http://loki:3100/push", None),
    ],
)
def test_proxy_is_the_one_of_the_environment(
    environ: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert proxy_to(url) == proxy


def test_post_goes_by_way_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_receiver(HttpAnswer(202)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
        assert Post("http://far.invalid/v1/metrics", {}, None, 5.0).send(b"").status == 202
    (received,) = proxy.received
    assert received.asked == "http://far.invalid/v1/metrics"
    assert received.headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
