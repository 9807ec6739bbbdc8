"""The base URL, the proxy and the certificates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from config_problems import KEY, problems

from waiter import AsyncWaiter, ConfigurationError, Waiter
from waiter.config.options import Options
from waiter.config.settings import Settings, resolve


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("gcore.com", "'gcore.com' must look like https://host"),
        ("https://", "'https://' must look like https://host"),
        ("https://me:secret@host", "'https://host' must not carry a user or a password"),
        ("https://host/?a=b", "'https://host/?a=b' must not carry a query or a fragment"),
        ("https://me:secret@host:99999", "'https://host:99999' cannot be parsed"),
        ("https://me:sec/ret@host", "'https://host' cannot be parsed"),
        ("me:secret@host", "'host' must look like https://host"),
        ("https://a..b", "'https://a..b' has an invalid host or invalid characters"),
        (f"https://{'a' * 70}", f"'https://{'a' * 70}' has an invalid host or invalid characters"),
        ("https://ü..b", "'https://ü..b' has an invalid host or invalid characters"),
        ("https://a b", "'https://a b' has an invalid host or invalid characters"),
        ("https://a\nb", r"'https://a\nb' has an invalid host or invalid characters"),
        ("https://a/\x01", r"'https://a/\x01' has an invalid host or invalid characters"),
        ("https://host:no", "'https://host:no' cannot be parsed: Port could not be cast to integer value as 'no'"),
        (
            "http://host",
            "'http://host' would send the API key unencrypted: use https, or allow_http=True on a safe network",
        ),
    ],
)
def test_bad_urls_are_refused(url: str, problem: str) -> None:
    """The message says what to do and contains no password."""
    assert problems(api_key=KEY, base_url=url) == (f"the base URL {problem}",)


@pytest.mark.parametrize("host", ["bücher.example", "a_b.example.", "[fe80::1%eth0]:8", "192.0.2.1"])
def test_unusual_hosts_are_accepted(host: str) -> None:
    """International names, underscores, zones and addresses are valid hosts."""
    assert resolve(Options(api_key=KEY, base_url=f"https://{host}"), {}).base_url == f"https://{host}"


@pytest.mark.parametrize("host", ["127.0.0.1:80", "[::1]:80", "localhost", "api.localhost", "127.8.9.1"])
def test_plain_http_is_accepted_for_loopback(host: str) -> None:
    """Loopback needs no TLS."""
    assert resolve(Options(api_key=KEY, base_url=f"http://{host}"), {}).base_url == f"http://{host}"


def test_plain_http_elsewhere_needs_allow_http() -> None:
    """``allow_http`` is for networks that encrypt themselves."""
    assert resolve(Options(api_key=KEY, base_url="http://host", allow_http=True), {}).base_url == "http://host"


def test_proxies_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY, ALL_PROXY and NO_PROXY count, and a proxy is never used for loopback."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    assert resolve(Options(api_key=KEY), {}).proxy == "http://all:1"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:2")
    assert resolve(Options(api_key=KEY), {}).proxy == "http://proxy:2"
    assert resolve(Options(api_key=KEY, base_url="http://127.0.0.1"), {}).proxy is None
    monkeypatch.setenv("NO_PROXY", "gcore.com,other.example:8443")
    assert resolve(Options(api_key=KEY), {}).proxy is None
    assert resolve(Options(api_key=KEY, base_url="https://other.example:8443"), {}).proxy is None
    assert resolve(Options(api_key=KEY, base_url="https://other.example"), {}).proxy == "http://proxy:2"


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def by(proxy: str, **options: Any) -> Settings:
        monkeypatch.setenv("https_proxy", proxy)
        return resolve(cast("Options", {"api_key": KEY, **options}), {})

    return by


@pytest.mark.parametrize(("given", "taken"), [("proxy:3128", "http://proxy:3128"), ("u:p@proxy", "http://u:p@proxy")])
def test_proxy_without_a_scheme_is_an_http_proxy(proxied: Callable[..., Settings], given: str, taken: str) -> None:
    """Curl reads it the same way."""
    assert proxied(given).proxy == taken


@pytest.mark.parametrize("proxy", ["socks5://me:secret@proxy:1", "SOCKS5://me:secret@proxy:1"])
def test_proxy_with_another_scheme_is_refused(proxied: Callable[..., Settings], proxy: str) -> None:
    """The message says what to do; with a client of the user's, the environment's proxy is ignored."""
    with pytest.raises(ConfigurationError) as caught:
        proxied(proxy)
    assert caught.value.problems == (
        "the proxy has the scheme 'socks5', not http or https: pass an httpx client that supports it",
    )
    with httpx.Client(trust_env=False) as client:
        assert proxied(proxy, client=client).proxy is None


def test_password_of_a_proxy_is_hidden(proxied: Callable[..., Settings]) -> None:
    """The repr of the settings has the proxy without its user and password."""
    settings = proxied("http://me:sec@ret@proxy:3128")
    assert settings.proxy == "http://me:sec@ret@proxy:3128"
    assert "proxy='http://proxy:3128'" in repr(settings)
    assert "ret@" not in repr(settings)


@pytest.mark.parametrize(
    "proxy", ["http://", "http://me:secret@a..b", "me:sec/ret@h:1", "me:secret@h:99999", "me:secret@h:x", "me:se://cret@h"]
)
def test_malformed_proxy_is_refused(proxied: Callable[..., Settings], proxy: str) -> None:
    """The error is raised during configuration, without the password."""
    with pytest.raises(ConfigurationError) as caught:
        proxied(proxy)
    assert caught.value.problems == ("the proxy cannot be parsed: it must look like http://user:password@host:port",)


def test_missing_certificates_are_refused(tmp_path: Path) -> None:
    """The variable and the path are named; OpenSSL would ignore the directory, and every poll would fail."""
    missing, empty, full = tmp_path / "none", tmp_path / "empty", tmp_path / "full"
    empty.mkdir()
    full.mkdir()
    (full / "0123abcd.0").touch()
    unhashed = "contains no certificate that is named by its hash, as openssl rehash names them"
    assert problems({"SSL_CERT_FILE": str(missing), "SSL_CERT_DIR": str(full)}, api_key=KEY) == (
        f"SSL_CERT_FILE={missing} is not a file that can be read",
    )
    for place in (missing, empty):
        assert problems({"SSL_CERT_DIR": str(place)}, api_key=KEY) == (f"SSL_CERT_DIR={place} {unhashed}",)
    assert resolve(Options(api_key=KEY), {"SSL_CERT_DIR": str(full)}).certificates == f"SSL_CERT_DIR={full}"
    assert resolve(Options(api_key=KEY, base_url="http://127.0.0.1"), {"SSL_CERT_FILE": str(missing)}).certificates is None


@pytest.mark.parametrize("content", ["", "rubbish", "-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n"])
def test_malformed_certificates_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """They are configuration, so the error is raised before the first poll."""
    file = tmp_path / "certificates"
    file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    for make in (Waiter, AsyncWaiter):
        with pytest.raises(ConfigurationError) as caught:
            make(api_key=KEY)
        assert str(caught.value).startswith(f"the certificates of SSL_CERT_FILE={file} cannot be read: ")
