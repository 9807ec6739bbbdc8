"""Settings from options and the environment."""

from __future__ import annotations

from datetime import timedelta
from math import inf, nan
from pathlib import Path
from typing import Any

import httpx
import pytest
from config_problems import KEY, problems
from tenacity import wait_fixed

from waiter import Schedule, Waiter
from waiter.config.options import Options
from waiter.config.settings import resolve


def test_key_alone_gives_the_defaults() -> None:
    """Every other option has a default."""
    settings = resolve(Options(api_key=KEY), {})
    assert (settings.base_url, settings.timeout, settings.max_outage, settings.stall_timeout, settings.learn) == (
        "https://api.gcore.com",
        7200.0,
        300.0,
        inf,
        True,
    )
    assert isinstance(settings.wait, Schedule)


def test_environment_fills_missing_options(tmp_path: Path) -> None:
    """The names are those of the official SDK."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    environ = {
        "GCORE_API_KEY_FILE": str(tmp_path / "key"),
        "GCORE_BASE_URL": "https://gcore.example/",
        "GCORE_POLLING_TIMEOUT_SECONDS": "60",
    }
    settings = resolve(Options(), environ)
    assert (settings.api_key.header, settings.base_url, settings.timeout) == (f"apikey {KEY}", "https://gcore.example", 60)


def test_arguments_override_the_environment() -> None:
    """An argument counts even when it is None."""
    environ = {"GCORE_API_KEY": "other", "GCORE_BASE_URL": "https://other", "GCORE_POLLING_TIMEOUT_SECONDS": "1"}
    settings = resolve(Options(api_key=KEY, base_url="https://mine", timeout=None), environ)
    assert (settings.api_key.header, settings.base_url, settings.timeout) == (f"apikey {KEY}", "https://mine", inf)


def test_key_overrides_a_key_file() -> None:
    """GCORE_API_KEY counts before GCORE_API_KEY_FILE."""
    assert resolve(Options(), {"GCORE_API_KEY": KEY, "GCORE_API_KEY_FILE": "/none"}).api_key.header == f"apikey {KEY}"


def test_all_problems_are_named_together() -> None:
    """One error names every problem."""
    assert problems(base_url="ftp://x", timeout=-1, max_outage="long", price=0) == (
        "no API key: set GCORE_API_KEY or GCORE_API_KEY_FILE, or pass api_key",
        "the base URL 'ftp://x' must look like https://host",
        "timeout must be seconds, 0 or more, or a timedelta, not -1",
        "max_outage must be seconds, 0 or more, or a timedelta, not 'long'",
        "price: not above 0 and within a day, in seconds (0.0)",
    )


@pytest.mark.parametrize(
    ("given", "seconds"), [(5, 5.0), (0, 0.0), (2.5, 2.5), (timedelta(minutes=2), 120.0), (None, inf), (inf, inf)]
)
def test_times_are_seconds_timedeltas_or_none(given: Any, seconds: float) -> None:
    """None is no limit."""
    assert resolve(Options(api_key=KEY, stall_timeout=given), {}).stall_timeout == seconds


@pytest.mark.parametrize("given", [-1, nan, True, "5", timedelta(seconds=-1)])
def test_other_times_are_refused(given: Any) -> None:
    """Negative numbers, NaN, booleans and text are no times."""
    assert problems(api_key=KEY, timeout=given) == (f"timeout must be seconds, 0 or more, or a timedelta, not {given!r}",)


def test_bad_price_is_named_once() -> None:
    """Only the first check that fails is reported."""
    assert problems(api_key=KEY, price=-1) == ("price must be seconds, 0 or more, or a timedelta, not -1",)


def test_bad_time_in_the_environment_is_named() -> None:
    """The message has the name of the variable."""
    for text in ("2h", "-1", "nan"):
        assert problems({"GCORE_POLLING_TIMEOUT_SECONDS": text}, api_key=KEY) == (
            f"GCORE_POLLING_TIMEOUT_SECONDS must be a number of seconds, 0 or more, such as 1800, not '{text}'",
        )


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_options_of_a_wrong_type_are_all_named() -> None:
    """No value causes another error, and a key is not shown."""
    wrong: dict[str, Any] = {
        "api_key": b"1234$abcdef",
        "base_url": b"https://host",
        "timeout": 10**400,
        "max_outage": nan,
        "stall_timeout": 10**5000,
        "price": Unprintable(),
        "min_interval": "x" * 100,
        "max_rps": 10**400,
        "learn": "no",
        "allow_http": "false",
        "on_event": 5,
        "client": 0,
        "sleep": 0,
        "clock": 5,
    }
    assert problems(**wrong) == (
        "client must be an httpx.Client or an httpx.AsyncClient, not 0",
        "api_key must be a string, a Path to a file that holds it, or a function that returns it, not bytes",
        "allow_http must be True or False, not 'false'",
        "base_url must be a string or an httpx.URL, not bytes",
        f"timeout must be seconds, 0 or more, or a timedelta, not 1{56 * '0'}...",
        "max_outage must be seconds, 0 or more, or a timedelta, not nan",
        "stall_timeout must be seconds, 0 or more, or a timedelta, not a value of int",
        "price must be seconds, 0 or more, or a timedelta, not a value of Unprintable",
        f"min_interval must be seconds, 0 or more, or a timedelta, not '{56 * 'x'}...",
        f"max_rps must be requests per second, more than 0, not 1{56 * '0'}...",
        "learn must be True or False, not 'no'",
        "on_event must be a function of an Event, not 5",
        "sleep must be a function of seconds, not 0",
        "clock must be a function that returns seconds, not 5",
    )
    assert problems(api_key=KEY, wait=5) == ("wait must be a tenacity wait strategy, not 5",)


@pytest.mark.parametrize("max_rps", [0, -1, nan, True, "5"])
def test_max_rps_is_a_positive_number(max_rps: Any) -> None:
    """Zero, negative numbers, NaN, booleans and text are refused."""
    assert problems(api_key=KEY, max_rps=max_rps) == (f"max_rps must be requests per second, more than 0, not {max_rps!r}",)


def test_class_instead_of_a_strategy_is_refused() -> None:
    """The parentheses are easily forgotten."""
    given: Any = wait_fixed
    assert problems(api_key=KEY, wait=given) == (f"wait must be a tenacity wait strategy, not {given!r}",)


def test_unknown_option_is_a_type_error() -> None:
    """As for any function."""
    options: Any = {"api_key": KEY, "timeuot": 5}
    with pytest.raises(TypeError, match="unexpected keyword argument 'timeuot'"):
        Waiter(**options)


def test_custom_strategy_turns_learning_off() -> None:
    """Only the schedule uses past durations."""
    assert resolve(Options(api_key=KEY, wait=wait_fixed(1)), {}).learn is False


def test_base_url_may_be_an_httpx_url() -> None:
    """It is checked as text is."""
    assert (
        resolve(Options(api_key=KEY, base_url=httpx.URL("https://gcore.example/x/")), {}).base_url == "https://gcore.example/x"
    )
    assert "must not carry a query" in problems(api_key=KEY, base_url=httpx.URL("https://gcore.example?a=b"))[0]


def test_custom_headers_come_from_the_environment() -> None:
    """One header a line, as the official SDK reads them; their values are hidden."""
    settings = resolve(Options(api_key=KEY), {"GCORE_CUSTOM_HEADERS": "X-Tenant: a:b\n\n  X-Empty:\n"})
    assert settings.headers == {"X-Tenant": "a:b", "X-Empty": ""}
    assert "a:b" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("X-A: b\nsecret", "must have a header as 'Name: value' in each line, unlike line 2"),
        ("X A: secret", "must have a header as 'Name: value' in each line, unlike line 1"),
        ("X-A: secr\x7fet", "must have a header as 'Name: value' in each line, unlike line 1"),
        ("authorization: secret", "must not have the header authorization, which waiter sets itself"),
    ],
)
def test_malformed_custom_headers_are_refused(text: str, problem: str) -> None:
    """The message does not show the values, which may be secrets."""
    assert problems({"GCORE_CUSTOM_HEADERS": text}, api_key=KEY) == (f"GCORE_CUSTOM_HEADERS {problem}",)
