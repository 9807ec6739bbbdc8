"""The path of a resource stays within the configured host."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiter import ConfigurationError
from waiter.config.resource_path import resource_path

BASE = "https://api.gcore.com"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/cloud/v1/images/7/76/m-1", "/cloud/v1/images/7/76/m-1"),
        (" /cloud/v1/tasks?limit=1&state=NEW ", "/cloud/v1/tasks?limit=1&state=NEW"),
        ("/cloud/v1/k8s/a%20b", "/cloud/v1/k8s/a%20b"),
        ("/cloud/v1/x?to=../y", "/cloud/v1/x?to=../y"),
        ("/cloud/v1/...", "/cloud/v1/..."),
        ("https://api.gcore.com/cloud/v1/x?a=b", "/cloud/v1/x?a=b"),
        ("https://API.gcore.com:443/cloud/v1/x", "/cloud/v1/x"),
        ("/cloud/{project_id}/{region_id}/{project_id}", "/cloud/7/76/7"),
    ],
)
def test_path_and_url_of_the_configured_host_are_accepted(text: str, path: str) -> None:
    """Placeholders are filled in from the environment."""
    environ = {"GCORE_CLOUD_PROJECT_ID": "7", "GCORE_CLOUD_REGION_ID": "76"}
    assert resource_path(text, BASE, environ) == path


def test_path_of_a_url_is_relative_to_that_of_the_base_url() -> None:
    """A proxy may serve the API below another path."""
    assert resource_path("http://127.0.0.1:8080/gcore/cloud/v1/x", "http://127.0.0.1:8080/gcore", {}) == "/cloud/v1/x"
    with pytest.raises(ConfigurationError, match="must begin with"):
        resource_path("http://127.0.0.1:8080/gcorex/cloud/v1/x", "http://127.0.0.1:8080/gcore", {})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must begin with one /"),
        ("cloud/v1/x", "must begin with one /"),
        ("//evil.example/x", "must begin with one /"),
        ("https://evil.example/cloud", "must begin with https://api.gcore.com"),
        ("http://api.gcore.com/cloud", "must begin with https://api.gcore.com"),
        ("https://api.gcore.com:8443/cloud", "must begin with https://api.gcore.com"),
        ("https://api.gcore.com.evil.example/", "must begin with https://api.gcore.com"),
        ("https://user@api.gcore.com/cloud", "must begin with https://api.gcore.com"),
        ("https://api.gcore.com@evil.example/", "must begin with https://api.gcore.com"),
        ("https://api.gcore.com:port/cloud", "must begin with https://api.gcore.com"),
        ("https://[/cloud", "must begin with https://api.gcore.com"),
        ("https://api.gcore.com", "must begin with https://api.gcore.com"),
        ("file:///etc/passwd", "must begin with https://api.gcore.com"),
        ("/cloud/../admin", "must not contain . or .."),
        ("/cloud/./x", "must not contain . or .."),
        ("/cloud/%2e%2E/admin", "must not contain . or .."),
        ("/cloud/%252e%252e/admin", "must not contain . or .."),
        ("/cloud/x%2f..%2fadmin", "must not contain . or .."),
        ("/cloud/x%5c..%5cadmin", "must not contain . or .."),
        ("/cloud/..;a=b/admin", "must not contain . or .."),
        ("https://api.gcore.com/../x", "must not contain . or .."),
        ("/cloud/a b", "characters"),
        ("/cloud/a\r\nHost: evil.example", "characters"),
        ("/cloud/\\..\\x", "characters"),
        ("/cloud/é", "characters"),
        ("/cloud/x#y", "characters"),
        ("/cloud/%zz", "characters"),
        ("/cloud/{name}", "characters"),
        ("/cloud/{region_id}", "needs GCORE_CLOUD_REGION_ID"),
        ("/cloud/{project_id}", "needs GCORE_CLOUD_PROJECT_ID"),
    ],
)
def test_everything_else_is_refused(text: str, problem: str) -> None:
    """No text leads to another host, or out of the path."""
    with pytest.raises(ConfigurationError, match=problem):
        resource_path(text, BASE, {"GCORE_CLOUD_PROJECT_ID": "../7"})


@given(st.text("/.%2eEfF5c:@?#\\;ax{} ", max_size=12))
def test_no_accepted_path_leaves_the_host_or_climbs(text: str) -> None:
    """However it is read by an HTTP client, the host stays the same and the path is kept."""
    try:
        path = resource_path(f"/cloud/{text}", BASE, {})
    except ConfigurationError:
        return
    url = httpx.URL(f"{BASE}{path}")
    assert (url.host, url.scheme) == ("api.gcore.com", "https")
    assert url.path.startswith("/cloud/")
    assert ".." not in url.path.split("/")
