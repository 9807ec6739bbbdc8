"""What a wait is given, checked together."""

from __future__ import annotations

from datetime import timedelta
from math import inf, nan
from pathlib import Path
from typing import Any, cast

import pytest
from tenacity import wait_fixed

from waiter import ConfigurationError, Schedule, Waiter
from waiter.settings import ApiKey, Options, resolve, task_ids

KEY = "1234$abcdef"


def problems(environ: dict[str, str] | None = None, **options: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        resolve(cast("Options", options), {} if environ is None else environ)
    return caught.value.problems


def test_the_defaults() -> None:
    """A key is all that is needed."""
    settings = resolve(Options(api_key=KEY), {})
    assert (settings.base_url, settings.timeout, settings.max_outage, settings.stall_timeout, settings.learn) == (
        "https://api.gcore.com",
        7200.0,
        300.0,
        inf,
        True,
    )
    assert isinstance(settings.wait, Schedule)


def test_the_environment_fills_what_is_not_given(tmp_path: Path) -> None:
    """The names are those of the official SDK."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    environ = {
        "GCORE_API_KEY_FILE": str(tmp_path / "key"),
        "GCORE_BASE_URL": "https://gcore.example/",
        "GCORE_POLLING_TIMEOUT_SECONDS": "60",
    }
    settings = resolve(Options(), environ)
    assert (settings.api_key.header, settings.base_url, settings.timeout) == (f"apikey {KEY}", "https://gcore.example", 60)


def test_arguments_go_before_the_environment() -> None:
    """What the code says wins, None included."""
    environ = {"GCORE_API_KEY": "other", "GCORE_BASE_URL": "https://other", "GCORE_POLLING_TIMEOUT_SECONDS": "1"}
    settings = resolve(Options(api_key=KEY, base_url="https://mine", timeout=None), environ)
    assert (settings.api_key.header, settings.base_url, settings.timeout) == (f"apikey {KEY}", "https://mine", inf)


def test_a_key_goes_before_a_key_file() -> None:
    """GCORE_API_KEY wins over GCORE_API_KEY_FILE."""
    assert resolve(Options(), {"GCORE_API_KEY": KEY, "GCORE_API_KEY_FILE": "/none"}).api_key.header == f"apikey {KEY}"


def test_all_problems_are_named_at_once() -> None:
    """Nobody has to fix one to hear of the next."""
    assert problems(base_url="ftp://x", timeout=-1, max_outage="long", price=0) == (
        "no API key: set GCORE_API_KEY or GCORE_API_KEY_FILE, or pass api_key",
        "the base URL 'ftp://x' must look like https://host",
        "timeout must be seconds, 0 or more, or a timedelta, not -1",
        "max_outage must be seconds, 0 or more, or a timedelta, not 'long'",
        "price: not above 0 and within a day, in seconds (0.0)",
    )


@pytest.mark.parametrize("key", ["", " ", "\n"])
def test_an_empty_key_is_no_key(key: str) -> None:
    """An empty argument is a mistake, and is called one."""
    assert problems(api_key=key) == ("the API key is empty",)


@pytest.mark.parametrize("key", ["a b", "a\nb", "a\x00b", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    """A token is one printable word; what it is stays out of the message."""
    assert problems(api_key=key) == ("the API key is not a token: it has spaces or control characters in it",)


@pytest.mark.parametrize("text", [f"apikey {KEY}", f"APIKey  {KEY} ", f"{KEY}\r\n"])
def test_a_key_is_taken_as_people_paste_it(text: str) -> None:
    """With its scheme, and with the white space of a file."""
    assert resolve(Options(api_key=text), {}).api_key.header == f"apikey {KEY}"


def test_a_key_file_that_cannot_be_read(tmp_path: Path) -> None:
    """The message names the file and the reason."""
    missing, binary = tmp_path / "none", tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    assert problems(api_key=missing) == (f"cannot read the API key from {missing}: No such file or directory",)
    assert problems({"GCORE_API_KEY_FILE": str(binary)}) == (f"cannot read the API key from {binary}: it is not text",)
    binary.write_text("\n")
    assert problems(api_key=binary) == (f"the API key in {binary} is empty",)


def test_the_key_shows_itself_to_nobody() -> None:
    """Not in a repr, and not in a text that somebody echoes."""
    key = ApiKey(KEY)
    assert repr(key) == str(key) == "ApiKey(***)"
    assert key.hide(f"Bad token {KEY}!") == "Bad token ***!"
    assert KEY not in repr(resolve(Options(api_key=KEY), {}))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("gcore.com", "'gcore.com' must look like https://host"),
        ("https://", "'https://' must look like https://host"),
        ("https://me:secret@host", "'https://host' must not carry a user or a password"),
        ("https://host/?a=b", "'https://host/?a=b' must not carry a query or a fragment"),
        ("https://host:no", "'https://host:no' cannot be read: Port could not be cast to integer value as 'no'"),
        (
            "http://host",
            "'http://host' would send the API key unencrypted: use https, or allow_http=True if the way is safe",
        ),
    ],
)
def test_bad_urls_are_refused(url: str, problem: str) -> None:
    """Each with what to do, and without a password in it."""
    assert problems(api_key=KEY, base_url=url) == (f"the base URL {problem}",)


@pytest.mark.parametrize("host", ["127.0.0.1:80", "[::1]:80", "localhost", "api.localhost", "127.8.9.1"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    """Loopback needs no TLS."""
    assert resolve(Options(api_key=KEY, base_url=f"http://{host}"), {}).base_url == f"http://{host}"


def test_plain_http_elsewhere_when_told_so() -> None:
    """``allow_http`` is for networks that encrypt by themselves."""
    assert resolve(Options(api_key=KEY, base_url="http://host", allow_http=True), {}).base_url == "http://host"


@pytest.mark.parametrize(
    ("given", "seconds"), [(5, 5.0), (0, 0.0), (2.5, 2.5), (timedelta(minutes=2), 120.0), (None, inf), (inf, inf)]
)
def test_times_are_seconds(given: Any, seconds: float) -> None:
    """A number, a timedelta, or None for ever."""
    assert resolve(Options(api_key=KEY, stall_timeout=given), {}).stall_timeout == seconds


@pytest.mark.parametrize("given", [-1, nan, True, "5", timedelta(seconds=-1)])
def test_other_times_are_refused(given: Any) -> None:
    """Nothing is guessed."""
    assert problems(api_key=KEY, timeout=given) == (f"timeout must be seconds, 0 or more, or a timedelta, not {given!r}",)


def test_a_bad_time_in_the_environment_is_named() -> None:
    """The message has the variable's name."""
    assert problems({"GCORE_POLLING_TIMEOUT_SECONDS": "2h"}, api_key=KEY) == (
        "GCORE_POLLING_TIMEOUT_SECONDS must be a number of seconds, not '2h'",
    )


def test_a_misspelt_option_is_a_type_error() -> None:
    """As with any other function."""
    options: Any = {"api_key": KEY, "timeuot": 5}
    with pytest.raises(TypeError, match="unexpected keyword argument 'timeuot'"):
        Waiter(**options)


def test_a_strategy_of_ones_own_asks_for_no_history() -> None:
    """Only the schedule can use it."""
    assert resolve(Options(api_key=KEY, wait=wait_fixed(1)), {}).learn is False


def test_proxies_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As curl and everybody has it: HTTPS_PROXY, ALL_PROXY, NO_PROXY, and never for this machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    assert resolve(Options(api_key=KEY), {}).proxy == "http://all:1"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:2")
    assert resolve(Options(api_key=KEY), {}).proxy == "http://proxy:2"
    assert resolve(Options(api_key=KEY, base_url="http://127.0.0.1"), {}).proxy is None
    monkeypatch.setenv("NO_PROXY", "gcore.com")
    assert resolve(Options(api_key=KEY), {}).proxy is None


def test_ids_are_read_from_all_that_people_have() -> None:
    """An ID, an answer; each ID once."""
    assert task_ids("t-1") == ["t-1"]
    assert task_ids({"tasks": ["t-1", "t-2", "t-1"]}) == ["t-1", "t-2"]


def test_all_bad_ids_are_named_at_once() -> None:
    """Together, in one error."""
    with pytest.raises(ConfigurationError) as caught:
        task_ids({"tasks": ["t-1", "a b", None]})
    assert caught.value.problems == ("not a task ID: 'a b'", "not a task ID: None")


@pytest.mark.parametrize("answer", [{}, {"tasks": "t-1"}, {"tasks": None}, 7])
def test_an_answer_without_a_list_of_tasks_is_refused(answer: Any) -> None:
    """It is not taken for an empty one."""
    with pytest.raises(ConfigurationError, match="neither a task ID nor an answer with a list of tasks"):
        task_ids(answer)
