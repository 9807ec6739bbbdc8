"""The options of the sidecar: one error names all problems."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from webhook_parts import write_secrets

from waiter.cli.commands.sidecar import make_parser
from waiter.errors import ConfigurationError
from waiter.sidecar.address import Address
from waiter.sidecar.options import read_options
from waiter.sidecar.webhook.targets import Origin


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GCORE_API_KEY", "1234$abcdef")
    monkeypatch.delenv("GCORE_BASE_URL", raising=False)


def parsed(*argv: str, **environ: str) -> argparse.Namespace:
    return make_parser().parse(argv, environ)


def test_defaults_are_as_documented() -> None:
    """Only the probe listener accepts other machines."""
    options = read_options(parsed())
    assert (str(options.listen), str(options.probe_listen)) == ("127.0.0.1:8080", "0.0.0.0:8081")
    rest = (options.task_ids, options.wait, options.state_dir, options.token, options.result_file, options.exits_on_error)
    assert rest == ([], {}, Path("/var/lib/waiter"), None, None, True)


def test_options_are_read_from_the_environment(tmp_path: Path) -> None:
    """Each is WAITER_<OPTION>; the options of a wait are passed on."""
    (tmp_path / "token").write_text("0123456789abcdef")
    environ = {"WAITER_LISTEN": "[::]:80", "WAITER_TOKEN_FILE": str(tmp_path / "token"), "WAITER_TIMEOUT": "30m"}
    options = read_options(parsed("a", "b", "a", "--on-error", "stay", "--no-learn", "--result-file", "r", **environ))
    assert (options.task_ids, options.wait) == (["a", "b"], {"timeout": 1800.0, "learn": False})
    assert (str(options.listen), options.token is not None) == ("[::]:80", True)
    assert (options.result_file, options.exits_on_error) == (Path("r"), False)


def test_retention_is_configurable(capsys: pytest.CaptureFixture[str]) -> None:
    """The number of waits is positive."""
    options = read_options(parsed())
    assert (options.max_waits, options.keep_ended) == (2000, None)
    options = read_options(parsed("--max-waits", "5", "--keep-ended", "1h"))
    assert (options.max_waits, options.keep_ended) == (5, 3600.0)
    with pytest.raises(SystemExit):
        parsed("--max-waits", "0")
    assert "argument --max-waits: not a positive number: '0'" in capsys.readouterr().err


def test_webhooks_are_off_by_default(tmp_path: Path) -> None:
    """Both URLs and hosts are accepted; the command line replaces the hosts of the environment."""
    assert read_options(parsed()).webhook is None
    file = str(write_secrets(tmp_path / "secret"))
    environ = {"WAITER_WEBHOOK_SECRET_FILE": file, "WAITER_WEBHOOK_ALLOW": "a.example, b.example:81"}
    for argv, expected in (
        (["--webhook", "https://example.org/hook"], ("https://example.org/hook", ["a.example", "b.example:81"], False)),
        (
            ["--webhook-allow", "c.example", "--webhook-allow", "http://d.example"],
            (None, ["c.example", "http://d.example"], False),
        ),
        (["--webhook-allow-private"], (None, ["a.example", "b.example:81"], True)),
    ):
        webhook = read_options(parsed(*argv, **environ)).webhook
        assert webhook is not None
        url, hosts, private = expected
        assert webhook.targets == (url, frozenset(map(Origin.parse, hosts)), private)
        assert repr(webhook.secrets) == f"SecretFile({file!r})"


def test_host_that_is_no_host_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Its error is in the terms of the option."""
    with pytest.raises(SystemExit):
        parsed("--webhook-allow", "*.example")
    assert "argument --webhook-allow: not HOST, HOST:PORT or http://HOST:PORT: '*.example'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "file", "problem"),
    [
        ("https://example.org", "", "webhooks need --webhook-secret-file: receivers verify the signature"),
        ("https://example.org", "/nowhere", "cannot read the webhook secrets from /nowhere: No such file or directory"),
        ("ftp://hunter2", "secret", "the URL of a webhook must look like https://host/path"),
    ],
)
def test_invalid_webhook_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, file: str, problem: str) -> None:
    """The error does not quote the URL, whose path may be a secret."""
    monkeypatch.chdir(tmp_path)
    write_secrets(tmp_path / "secret")
    with pytest.raises(ConfigurationError) as caught:
        read_options(parsed("--webhook", url, *(["--webhook-secret-file", file] if file else [])))
    assert caught.value.problems == (problem,)


def test_every_problem_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, a bad URL, a bad ID and a missing token file are in one error."""
    monkeypatch.delenv("GCORE_API_KEY")
    with pytest.raises(ConfigurationError) as caught:
        read_options(parsed("../a", "--token-file", "/nowhere", "--base-url", "gopher://x"))
    assert caught.value.problems == (
        "no API key: set GCORE_API_KEY or GCORE_API_KEY_FILE, or pass api_key",
        "the base URL 'gopher://x' must look like https://host",
        "not a task ID: '../a'",
        "cannot read the token from /nowhere: No such file or directory",
    )


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "10.0.0.5:80", "[::]:8080", "example.org:80"])
def test_listener_beyond_loopback_requires_a_token(listen: str) -> None:
    """Any client that connects could use the API key."""
    with pytest.raises(ConfigurationError) as caught:
        read_options(parsed("--listen", listen))
    assert (
        str(caught.value) == f"{listen} is reachable from other machines: use --token-file, or listen on 127.0.0.1 or unix:PATH"
    )


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:8080", "[::1]:8080", "127.8.0.1:65535"])
def test_listener_on_loopback_requires_no_token(listen: str) -> None:
    """Only this machine, or this pod, can connect."""
    assert str(read_options(parsed("--listen", listen)).listen) == listen


@pytest.mark.parametrize("text", ["8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "a:٣"])
def test_invalid_address_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An address is HOST:PORT; anything else is wrong usage."""
    with pytest.raises(SystemExit) as caught:
        parsed("--listen", text)
    assert caught.value.code == 2
    assert f"argument --listen: not HOST:PORT: {text!r}" in capsys.readouterr().err


def test_port_in_use_is_named() -> None:
    """The error names the address."""
    taken = Address("127.0.0.1:0").bind()
    with taken, pytest.raises(ConfigurationError, match=r"cannot listen on 127\.0\.0\.1:.*: Address already in use"):
        Address.of(taken).bind()


def test_ipv6_address_is_supported() -> None:
    """The host is written in brackets, as in URLs."""
    with Address("[::1]:0").bind() as bound:
        assert str(Address.of(bound)).startswith("[::1]:")
