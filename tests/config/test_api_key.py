"""API keys: from text and from files, and hidden wherever they are shown."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from config_problems import KEY, problems

from waiter.config.api_key import ApiKey
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
