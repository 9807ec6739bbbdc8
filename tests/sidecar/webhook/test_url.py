"""The URLs of webhooks."""

from __future__ import annotations

import pytest

from waiter.errors import ConfigurationError
from waiter.sidecar.webhook.url import parse_url


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
