"""Where webhooks may be sent: URLs, origins and addresses."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiter.errors import ConfigurationError
from waiter.sidecar.webhook.targets import Origin, Targets, parse_url


@pytest.mark.parametrize(
    "text", ["https://example.org", "http://10.0.0.5:8000/hook?key=1", "https://[::1]/", "https://b\u00fccher.example/hook"]
)
def test_url_of_a_receiver_is_accepted(text: str) -> None:
    """The operator decides about plain http and private addresses."""
    assert parse_url(text).host


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must look like https://host/path"),
        ("example.org/hook", "must look like https://host/path"),
        ("ftp://example.org", "must look like https://host/path"),
        ("https:///hook", "must look like https://host/path"),
        ("https://example.org:port", "must look like https://host/path"),
        ("https://example.org:0", "must have a port from 1 to 65535"),
        ("https://example.org:65536", "must have a port from 1 to 65535"),
        ("https://user:hunter2@example.org", "must not carry a user, a password or a fragment"),
        ("https://example.org/#part", "must not carry a user, a password or a fragment"),
        ("https://example.org/" + "a" * 2048, "must not be longer than 2048 characters"),
    ],
)
def test_other_text_is_refused(text: str, problem: str) -> None:
    """The error does not quote it."""
    with pytest.raises(ConfigurationError) as caught:
        parse_url(text)
    assert str(caught.value) == f"the URL of a webhook {problem}"


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("hooks.example", ("https", "hooks.example", 443)),
        ("HOOKS.example:8443", ("https", "hooks.example", 8443)),
        ("http://hooks.example", ("http", "hooks.example", 80)),
        ("https://[2001:db8::1]:1", ("https", "2001:db8::1", 1)),
    ],
)
def test_allowed_host_is_an_origin(text: str, origin: tuple[str, str, int]) -> None:
    """Without a scheme it is https; the port is that of the scheme unless it is given."""
    assert Origin.parse(text) == origin
    assert Origin.parse(str(Origin.parse(text))) == origin


@pytest.mark.parametrize(
    "text", ["", "*", "*.example", "ftp://hooks.example", "hooks.example/path", "user@hooks.example", "a b"]
)
def test_other_host_is_refused(text: str) -> None:
    """Among others a pattern, which would allow more than one host."""
    with pytest.raises(ValueError, match="not HOST, HOST:PORT or http://HOST:PORT") as caught:
        Origin.parse(text)
    assert repr(text) in str(caught.value)


TARGETS = Targets(None, frozenset([Origin.parse("hooks.example"), Origin.parse("http://hooks.example:8000")]))


@pytest.mark.parametrize("text", ["https://hooks.example/any?path", "https://HOOKS.EXAMPLE:443", "http://hooks.example:8000/"])
def test_url_of_an_allowed_origin_is_accepted(text: str) -> None:
    """With any path."""
    assert TARGETS.check(text) == httpx.URL(text)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://hooks.example/", "http://hooks.example:80"),
        ("https://hooks.example:8000/", "https://hooks.example:8000"),
        ("https://hooks.example.evil.example/", "https://hooks.example.evil.example:443"),
        ("https://evil.example/hooks.example", "https://evil.example:443"),
        ("https://hooks.example./", "https://hooks.example.:443"),
        ("https://evil.example\\@hooks.example/", None),
        ("https://hooks.example@evil.example/", None),
        ("https://[::ffff:127.0.0.1]/", "https://[::ffff:127.0.0.1]:443"),
    ],
)
def test_url_of_another_origin_is_refused(text: str, origin: str | None) -> None:
    """The host is compared as the connection uses it."""
    with pytest.raises(ConfigurationError) as caught:
        TARGETS.check(text)
    if origin:
        assert str(caught.value) == f"webhooks to {origin} are not allowed (--webhook-allow)"


PUBLIC = ["93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
PRIVATE = [
    "10.0.0.5",
    "127.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "::1",
    "fd00::1",
    "::ffff:10.0.0.5",
    "64:ff9b::a00:5",
]
NEVER = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "fe80::1",
    "fe80::1%eth0",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "2002:a9fe:a9fe::1",
]


@pytest.mark.parametrize(
    ("address", "by_default", "with_private"),
    [(one, True, True) for one in PUBLIC] + [(one, False, True) for one in PRIVATE] + [(one, False, False) for one in NEVER],
)
def test_address_of_a_request_is_public_unless_private_ones_are_allowed(
    address: str, by_default: bool, with_private: bool
) -> None:
    """Link-local addresses serve credentials of a cloud, and are never allowed, also not within IPv6."""
    private = TARGETS._replace(allows_private=True)
    assert (TARGETS.allow_address(address), private.allow_address(address)) == (by_default, with_private)


@given(st.ip_addresses())
def test_every_address_is_decided(address: object) -> None:
    """What is allowed by default is allowed together with private ones."""
    private = TARGETS._replace(allows_private=True)
    assert TARGETS.allow_address(str(address)) <= private.allow_address(str(address))
