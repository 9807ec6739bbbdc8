"""What a wait is given, checked together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from math import inf, nan
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx
import pytest
from tenacity import wait_fixed

from waiter import AsyncWaiter, ConfigurationError, Schedule, Waiter
from waiter.config.api_key import ApiKey
from waiter.config.settings import Options, Settings, resolve
from waiter.config.task_ids import all_task_ids, task_ids

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
    assert problems(api_key=missing) == (f"cannot read the API key from {missing}: No such file or directory",)
    for data in (b"\xfe", b"\xff\xfe\x31", KEY.encode("utf-16-le")):
        binary.write_bytes(data)
        assert problems({"GCORE_API_KEY_FILE": str(binary)}) == (
            f"cannot read the API key from {binary}: it is not text: save the key alone, in UTF-8",
        )
    binary.write_text("\n")
    assert problems(api_key=binary) == (f"the API key in {binary} is empty",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_key_file_may_come_from_windows(tmp_path: Path, encoding: str) -> None:
    """Windows PowerShell writes UTF-16, and editors there a byte order mark."""
    file = tmp_path / "key"
    file.write_text(f"{KEY}\r\n", encoding=encoding)
    assert resolve(Options(api_key=file), {}).api_key.header == f"apikey {KEY}"
    file.write_bytes(f"\ufeff{KEY}\r\n".encode("utf-16-be"))
    assert resolve(Options(api_key=file), {}).api_key.header == f"apikey {KEY}"
    assert resolve(Options(), {"GCORE_API_KEY": f"\ufeff{KEY}"}).api_key.header == f"apikey {KEY}"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a file without an end")
def test_a_key_file_without_an_end() -> None:
    """It is not read for ever."""
    assert "it is not text" in problems(api_key=Path("/dev/zero"))[0]


def test_the_key_shows_itself_to_nobody() -> None:
    """Not in a repr, and not in a text that somebody echoes."""
    key = ApiKey(KEY)
    assert repr(key) == str(key) == "ApiKey(***)"
    assert key.hide(f"Bad token {KEY}!") == "Bad token ***!"
    assert key.hide(r"1234\u0024abcdef 1234%24abcdef 1234\$abcdef 1234$") == "*** *** *** 1234$"
    assert key.hide_in_bytes(rb'["a\nb", "1234\u0024abcdef"]') == rb'["a\nb", "***"]'
    odd = ApiKey('a"/\\ +.')
    for echo in ('a"/\\ +.', r"a\"\/\\ +.", quote('a"/\\ +.', safe=""), r"a\u0022\u002F\u005c +."):
        assert (odd.hide(echo), odd.hide_in_bytes(echo.encode())) == ("***", b"***")
    assert KEY not in repr(resolve(Options(api_key=KEY), {}))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("gcore.com", "'gcore.com' must look like https://host"),
        ("https://", "'https://' must look like https://host"),
        ("https://me:secret@host", "'https://host' must not carry a user or a password"),
        ("https://host/?a=b", "'https://host/?a=b' must not carry a query or a fragment"),
        ("https://me:secret@host:99999", "'https://host:99999' cannot be read"),
        ("https://me:sec/ret@host", "'https://host' cannot be read"),
        ("me:secret@host", "'host' must look like https://host"),
        ("https://a..b", "'https://a..b' has a host or characters in it that nobody can ask for"),
        (f"https://{'a' * 70}", f"'https://{'a' * 70}' has a host or characters in it that nobody can ask for"),
        ("https://ü..b", "'https://ü..b' has a host or characters in it that nobody can ask for"),
        ("https://a b", "'https://a b' has a host or characters in it that nobody can ask for"),
        ("https://a\nb", r"'https://a\nb' has a host or characters in it that nobody can ask for"),
        ("https://a/\x01", r"'https://a/\x01' has a host or characters in it that nobody can ask for"),
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


@pytest.mark.parametrize("host", ["bücher.example", "a_b.example.", "[fe80::1%eth0]:8", "192.0.2.1"])
def test_odd_hosts_are_taken(host: str) -> None:
    """Whatever can be asked."""
    assert resolve(Options(api_key=KEY, base_url=f"https://{host}"), {}).base_url == f"https://{host}"


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


def test_a_bad_price_is_named_once() -> None:
    """By the check that it fails first."""
    assert problems(api_key=KEY, price=-1) == ("price must be seconds, 0 or more, or a timedelta, not -1",)


def test_a_bad_time_in_the_environment_is_named() -> None:
    """The message has the variable's name."""
    for text in ("2h", "-1", "nan"):
        assert problems({"GCORE_POLLING_TIMEOUT_SECONDS": text}, api_key=KEY) == (
            f"GCORE_POLLING_TIMEOUT_SECONDS must be a number of seconds, 0 or more, such as 1800, not '{text}'",
        )


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_options_of_a_wrong_type_are_all_named() -> None:
    """Nothing of it is a fault later, however odd it is, and a key is not shown."""
    wrong: dict[str, Any] = {
        "api_key": b"1234$abcdef",
        "base_url": b"https://host",
        "timeout": 10**400,
        "max_outage": nan,
        "stall_timeout": 10**5000,
        "price": Unspeakable(),
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
        "api_key must be a string, or a Path to a file that holds it, not bytes",
        "allow_http must be True or False, not 'false'",
        "base_url must be a string, not bytes",
        f"timeout must be seconds, 0 or more, or a timedelta, not 1{56 * '0'}...",
        "max_outage must be seconds, 0 or more, or a timedelta, not nan",
        "stall_timeout must be seconds, 0 or more, or a timedelta, not a value of int",
        "price must be seconds, 0 or more, or a timedelta, not a value of Unspeakable",
        f"min_interval must be seconds, 0 or more, or a timedelta, not '{56 * 'x'}...",
        f"max_rps must be requests per second, more than 0, not 1{56 * '0'}...",
        "learn must be True or False, not 'no'",
        "on_event must be a function of an Event, not 5",
        "sleep must be a function of seconds, not 0",
        "clock must be a function that gives seconds, not 5",
    )
    assert problems(api_key=KEY, wait=5) == ("wait must be a tenacity wait strategy, not 5",)


@pytest.mark.parametrize("max_rps", [0, -1, nan, True, "5"])
def test_a_budget_is_more_than_nothing(max_rps: Any) -> None:
    """Requests per second, of a number."""
    assert problems(api_key=KEY, max_rps=max_rps) == (f"max_rps must be requests per second, more than 0, not {max_rps!r}",)


def test_a_strategy_is_an_object() -> None:
    """The parentheses are easily forgotten."""
    given: Any = wait_fixed
    assert problems(api_key=KEY, wait=given) == (f"wait must be a tenacity wait strategy, not {given!r}",)


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
def test_a_proxy_without_a_scheme_is_one_over_http(proxied: Callable[..., Settings], given: str, taken: str) -> None:
    """As curl has it."""
    assert proxied(given).proxy == taken


@pytest.mark.parametrize("proxy", ["socks5://me:secret@proxy:1", "SOCKS5://me:secret@proxy:1"])
def test_a_proxy_of_another_kind_is_refused(proxied: Callable[..., Settings], proxy: str) -> None:
    """The message says what to do; with a client of one's own, the proxy is that client's business."""
    with pytest.raises(ConfigurationError) as caught:
        proxied(proxy)
    assert caught.value.problems == ("the proxy is of the kind 'socks5', not http or https: pass an httpx client of your own",)
    with httpx.Client(trust_env=False) as client:
        assert proxied(proxy, client=client).proxy is None


def test_the_password_of_a_proxy_is_not_shown(proxied: Callable[..., Settings]) -> None:
    """Where the settings are shown, the proxy is without its user and password."""
    settings = proxied("http://me:sec@ret@proxy:3128")
    assert settings.proxy == "http://me:sec@ret@proxy:3128"
    assert "proxy='http://proxy:3128'" in repr(settings)
    assert "ret@" not in repr(settings)


@pytest.mark.parametrize(
    "proxy", ["http://", "http://me:secret@a..b", "me:sec/ret@h:1", "me:secret@h:99999", "me:secret@h:x", "me:se://cret@h"]
)
def test_a_proxy_that_cannot_be_asked_is_refused(proxied: Callable[..., Settings], proxy: str) -> None:
    """When configured, and without its password."""
    with pytest.raises(ConfigurationError) as caught:
        proxied(proxy)
    assert caught.value.problems == ("the proxy cannot be read: it must look like http://user:password@host:port",)


def test_certificates_that_are_not_there(tmp_path: Path) -> None:
    """The variable and the path are named; OpenSSL would say nothing of a directory, and every look would fail."""
    missing, empty, full = tmp_path / "none", tmp_path / "empty", tmp_path / "full"
    empty.mkdir()
    full.mkdir()
    (full / "0123abcd.0").touch()
    unhashed = "has no certificates in it that are named by their hash, as openssl rehash names them"
    assert problems({"SSL_CERT_FILE": str(missing), "SSL_CERT_DIR": str(full)}, api_key=KEY) == (
        f"SSL_CERT_FILE={missing} is no file that can be read",
    )
    for place in (missing, empty):
        assert problems({"SSL_CERT_DIR": str(place)}, api_key=KEY) == (f"SSL_CERT_DIR={place} {unhashed}",)
    assert resolve(Options(api_key=KEY), {"SSL_CERT_DIR": str(full)}).certificates == f"SSL_CERT_DIR={full}"
    assert resolve(Options(api_key=KEY, base_url="http://127.0.0.1"), {"SSL_CERT_FILE": str(missing)}).certificates is None


@pytest.mark.parametrize("content", ["", "rubbish", "-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n"])
def test_certificates_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    """They are configuration, and so found before the first look."""
    file = tmp_path / "certificates"
    file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    for make in (Waiter, AsyncWaiter):
        with pytest.raises(ConfigurationError) as caught:
            make(api_key=KEY)
        assert str(caught.value).startswith(f"the certificates of SSL_CERT_FILE={file} cannot be read: ")


def test_ids_are_read_from_all_that_people_have() -> None:
    """An ID, an answer; each ID once."""
    assert task_ids("t-1") == ["t-1"]
    assert task_ids({"tasks": ["t-1", "t-2", "t-1"]}) == ["t-1", "t-2"]
    assert task_ids(["t-1", "t-2", "t-1"]) == ["t-1", "t-2"]
    assert task_ids([]) == []


class Said:
    """As the official SDK gives an answer: a model, which is iterable and gives its fields."""

    tasks = ("t-1", "t-2")

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        yield "tasks", self.tasks


def test_several_ids_are_read_from_all_that_people_have() -> None:
    """IDs, answers, one answer, one object of the official SDK's."""
    said: Any = Said()
    assert all_task_ids(said) == task_ids(said) == ["t-1", "t-2"]
    assert all_task_ids(iter(["t-0", said, {"tasks": ["t-3"]}])) == ["t-0", "t-1", "t-2", "t-3"]


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
    with pytest.raises(ConfigurationError, match="neither a task ID nor an answer with a list of tasks"):
        all_task_ids(answer)
