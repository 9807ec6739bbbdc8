"""The URLs of webhooks."""

from __future__ import annotations

import httpx

from waiter.errors import ConfigurationError

MAX_URL_LENGTH = 2048


def parse_url(text: str) -> httpx.URL:
    """Return the URL of a receiver. Raises ConfigurationError, which never quotes it: its path may be a secret."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    problem = None
    if url.scheme not in {"http", "https"} or not url.host:
        problem = "must look like https://host/path"
    elif len(text) > MAX_URL_LENGTH:
        problem = f"must not be longer than {MAX_URL_LENGTH} characters"
    elif url.userinfo or url.fragment:
        problem = "must not carry a user, a password or a fragment"
    if problem is not None:
        message = f"the URL of a webhook {problem}"
        raise ConfigurationError(message)
    return url
