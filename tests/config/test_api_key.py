"""API keys: from text and from files, and hidden wherever they are shown."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from config_problems import KEY, problems

from waiter.config import api_key
from waiter.config.api_key import ApiKey, Secret, SecretBytes
from waiter.config.options import Options
from waiter.config.settings import resolve


@pytest.mark.parametrize("key", ["", " ", "\n"])
def test_empty_key_is_refused(key: str) -> None:
    """An empty argument is an error; the environment is not used instead."""
    assert problems(api_key=key) == ("the API key is empty",)


@pytest.mark.parametrize("key", ["a b", "a\nb", "a\x00b", "schlüssel"])
def test_key_that_is_no_token_is_refused_without_showing_it(key: str) -> None:
    """A token is one printable word; the message does not contain what was given."""
    assert problems(api_key=key) == ("the API key is not a token: it contains spaces or control characters",)


@pytest.mark.parametrize("text", [f"apikey {KEY}", f"APIKey  {KEY} ", f"{KEY}\r\n"])
def test_scheme_and_white_space_around_a_key_are_removed(text: str) -> None:
    """Documentation shows keys with their scheme, and files end in white space."""
    assert resolve(Options(api_key=text), {}).api_key.header == f"apikey {KEY}"


def test_unreadable_key_file_is_named_with_the_reason(tmp_path: Path) -> None:
    """The message has the path of the file and the reason."""
    missing, binary = tmp_path / "none", tmp_path / "binary"
    assert problems(api_key=missing) == (f"cannot read the API key from {missing}: No such file or directory",)
    for data in (b"\xfe", b"\xff\xfe\x31", KEY.encode("utf-16-le")):
        binary.write_bytes(data)
        assert problems({"GCORE_API_KEY_FILE": str(binary)}) == (
            f"cannot read the API key from {binary}: it is not text: save only the key, in UTF-8",
        )
    binary.write_text("\n")
    assert problems(api_key=binary) == (f"the API key in {binary} is empty",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_key_files_in_windows_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    """Windows PowerShell writes UTF-16, and editors add a byte order mark."""
    file = tmp_path / "key"
    file.write_text(f"{KEY}\r\n", encoding=encoding)
    assert resolve(Options(api_key=file), {}).api_key.header == f"apikey {KEY}"
    file.write_bytes(f"\ufeff{KEY}\r\n".encode("utf-16-be"))
    assert resolve(Options(api_key=file), {}).api_key.header == f"apikey {KEY}"
    assert resolve(Options(), {"GCORE_API_KEY": f"\ufeff{KEY}"}).api_key.header == f"apikey {KEY}"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a file without an end")
def test_endless_key_file_is_refused() -> None:
    """Reading stops at a limit."""
    assert "it is not text" in problems(api_key=Path("/dev/zero"))[0]


def test_key_is_hidden_in_reprs_and_echoes() -> None:
    """Neither a repr nor a text from the server shows the key."""
    key = ApiKey(KEY)
    assert repr(key) == str(key) == "ApiKey(***)"
    assert key.hide(f"Bad token {KEY}!") == "Bad token ***!"
    assert key.hide(r"1234\u0024abcdef 1234%24abcdef 1234\$abcdef 1234$") == "*** *** *** 1234$"
    assert key.hide_in_bytes(rb'["a\nb", "1234\u0024abcdef"]') == rb'["a\nb", "***"]'
    odd = ApiKey('a"/\\ +.')
    for echo in ('a"/\\ +.', r"a\"\/\\ +.", quote('a"/\\ +.', safe=""), r"a\u0022\u002F\u005c +."):
        assert (odd.hide(echo), odd.hide_in_bytes(echo.encode())) == ("***", b"***")
    assert KEY not in repr(resolve(Options(api_key=KEY), {}))


def test_function_is_asked_again_for_the_key() -> None:
    """The new key is used as soon as the function returns it; an invalid one changes nothing."""
    keys = iter(["old", "new", "a b", "newest"])
    key = resolve(Options(api_key=lambda: next(keys)), {}).api_key
    assert [key.header, *(key.refresh() for _ in range(3))] == ["apikey old", "apikey new", "apikey new", "apikey newest"]
    assert key.can_change


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (None, "api_key must be a function that returns a string, not NoneType"),
        (b"key", "api_key must be a function that returns a string, not bytes"),
        ("", "the API key that the function returned is empty"),
    ],
)
def test_function_that_returns_no_key_is_refused(returned: object, problem: str) -> None:
    """The message does not show what it returned."""
    assert problems(api_key=lambda: returned) == (problem,)


def test_error_of_the_key_function_is_raised() -> None:
    """It is the user's own error."""

    def fail() -> str:
        raise LookupError

    with pytest.raises(LookupError):
        resolve(Options(api_key=fail), {})


def test_given_key_cannot_change(tmp_path: Path) -> None:
    """Only a file or a function can return another key later."""
    (tmp_path / "key").write_text(KEY)
    keys = [resolve(Options(api_key=given), {}).api_key for given in (KEY, tmp_path / "key")]
    assert [key.can_change for key in keys] == [False, True]
    assert keys[0].refresh() == f"apikey {KEY}"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_without_a_writer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening it would block without limit."""
    monkeypatch.setattr(api_key, "PIPE_TIMEOUT", 0.05)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    try:
        assert problems(api_key=pipe) == (f"cannot read the API key from {pipe}: nothing was written to it within 0.05 s",)
    finally:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))  # ends the thread that opens the pipe


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_is_read_once() -> None:
    """A shell passes the output of a command as a pipe, and a second read would block."""
    read, write = os.pipe()
    os.write(write, KEY.encode())
    os.close(write)
    key = resolve(Options(api_key=Path(f"/dev/fd/{read}")), {}).api_key
    os.close(read)
    assert (key.header, key.refresh(), key.can_change) == (f"apikey {KEY}", f"apikey {KEY}", False)


def test_directory_is_no_key_file(tmp_path: Path) -> None:
    """The reason is that of the operating system."""
    assert problems(api_key=tmp_path) == (f"cannot read the API key from {tmp_path}: Is a directory",)


@pytest.mark.parametrize("use", [pickle.dumps, copy.deepcopy])
def test_settings_with_a_key_cannot_be_pickled(use: Any) -> None:
    """A pickle would have the key in plain text."""
    with pytest.raises(TypeError, match="an API key cannot be pickled"):
        use(resolve(Options(api_key=KEY), {}))


def test_short_key_is_hidden_where_it_is_a_word() -> None:
    """It may be a part of many words, and of headers that are parsed."""
    key = ApiKey("ab1")
    assert key.hide("Bad token ab1, ab12") == "Bad token ***, ab12"
    assert key.hide_in_headers([("Location", "/ab1"), ("Date", "ab1")]) == {"location": "/***", "date": "ab1"}


def test_short_key_in_a_body_is_hidden_where_it_is_the_header() -> None:
    """Elsewhere it may be a valid value, such as a state or a part of an ID."""
    key = ApiKey("NEW")
    echoed = rb'{"state": "NEW", "a": "apikey NEW", "b": "APIKey%20NEW.", "c": "apikey\u0020\u004eEW", "d": "apikey NEWER"}'
    shown = rb'{"state": "NEW", "a": "apikey ***", "b": "APIKey%20***.", "c": "apikey\u0020***", "d": "apikey NEWER"}'
    assert key.hide_in_bytes(echoed) == shown


@pytest.mark.parametrize("secret", [Secret(KEY), SecretBytes(KEY.encode())])
def test_part_of_a_secret_is_a_secret(secret: Any) -> None:
    """Tools that print local variables shorten them first."""
    assert (repr(secret[:8]), secret[:8] == KEY[:8] or secret[:8] == KEY[:8].encode()) == (repr(secret), True)
    assert secret[0] in {KEY[0], KEY.encode()[0]}
