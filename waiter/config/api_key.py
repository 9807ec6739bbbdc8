"""The API token: read, checked, and hidden from everything that is shown."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Thread
from typing import NoReturn, SupportsIndex, overload

MIN_HIDDEN_LENGTH = 6
MAX_FILE_SIZE = 2**16
PIPE_TIMEOUT = 10.0
# These are parsed and never shown, and a short token must not change them.
_PARSED_HEADERS = {"date", "retry-after"}


class Secret(str):
    """A str whose repr is masked, for tracebacks and logs that show local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __getitem__(self, place: SupportsIndex | slice) -> Secret:
        # rich shortens a long text before it takes the repr.
        return Secret(super().__getitem__(place))


class SecretBytes(bytes):
    """A bytes object whose repr is masked."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "b'***'"

    @overload
    def __getitem__(self, place: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> SecretBytes: ...
    def __getitem__(self, place: SupportsIndex | slice) -> int | SecretBytes:
        found = super().__getitem__(place)
        return found if isinstance(found, int) else SecretBytes(found)


class ApiKey:
    """The API token; only ``header``, the value of the Authorization header, returns it.

    ``source`` is where the token came from, a file or a function, and is asked again when the API rejects the token.
    ``accepted`` is whether the API has accepted a token of this key. ``changed_at`` is when the present token was read for the
    first time, in monotonic seconds.
    """

    def __init__(self, token: str, source: Path | Callable[[], object] | None = None) -> None:
        self._source = source
        self.accepted = False
        self._token = ""
        self._set(token)

    def __repr__(self) -> str:
        return "ApiKey(***)"

    def __reduce__(self) -> NoReturn:
        message = "an API key cannot be pickled"
        raise TypeError(message)

    @property
    def can_change(self) -> bool:
        """Whether the token comes from a file or a function."""
        return self._source is not None

    def refresh(self) -> Secret:
        """Ask the source for the token again, if there is one, and return the value of the header.

        A source without a valid token changes nothing. Raises what the user's function raises.
        """
        if isinstance(self._source, Path):
            self._set(read_token(self._source, []) or self._token)
        elif self._source is not None:
            self._set(call_for_token(self._source, []) or self._token)
        return self.header

    def hide(self, text: str) -> str:
        """Return the text with the token masked, which a server may echo plain, in JSON's escapes or percent-encoded.

        A token so short that it is a part of many words is masked only where it is a word.
        """
        return self._echo.sub("***", text)

    def hide_in_headers(self, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return the headers with lower-case names and the token masked in all values that may be shown."""
        shown: dict[str, str] = {}
        for name, value in headers:
            lower = name.lower()
            shown[lower] = value if lower in _PARSED_HEADERS else self._echo.sub("***", value)
        return shown

    def hide_in_bytes(self, body: bytes) -> bytes:
        """Return the bytes with the token masked, as ``hide`` does.

        A short token may be a valid value, so it is masked only after ``apikey``, as in the header that was sent.
        """
        if len(self._token) < MIN_HIDDEN_LENGTH:
            return self._echo_in_bytes.sub(rb"\1***", body)
        body = body.replace(self._token.encode(), b"***")
        # A large listing usually has neither, and then 2 MB take 0.2 ms instead of 8.
        return self._echo_in_bytes.sub(b"***", body) if b"\\" in body or b"%" in body else body

    def _set(self, token: str) -> None:
        if token != self._token:
            self.changed_at = time.monotonic()
        self._token = token
        self.header = Secret(f"apikey {token}")
        pattern = "".join(map(_echo_pattern, token))
        in_bytes = pattern
        if len(token) < MIN_HIDDEN_LENGTH:
            in_bytes = rf"((?i:apikey)(?:{_echo_pattern(' ')}|\+)){pattern}(?![0-9A-Za-z])"
            pattern = f"(?<![0-9A-Za-z]){pattern}(?![0-9A-Za-z])"
        self._echo_in_bytes = re.compile(in_bytes.encode())
        self._echo = re.compile(pattern)


def _echo_pattern(char: str) -> str:
    """Return a pattern for every way in which JSON (RFC 8259, 7) or a URL (RFC 3986, 2.1) can write a character."""
    code = f"(?i:{ord(char):02x})"
    return rf"(?:{re.escape(char)}|\\{re.escape(char)}|\\u00{code}|%{code})"


def read_token(file: Path, problems: list[str]) -> str | None:
    """Return the token in a file, or None when it has none; add what is wrong to ``problems``."""
    try:
        text = _decode(_read_bytes(file))
    except TimeoutError:
        problems.append(f"cannot read the API key from {file}: nothing was written to it within {PIPE_TIMEOUT:g} s")
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text: save only the key, in UTF-8"
        problems.append(f"cannot read the API key from {file}: {reason}")
        return None
    return check_token(text, f"the API key in {file}", problems)


def call_for_token(source: Callable[[], object], problems: list[str]) -> str | None:
    """Return the token that a function returns, or None when it returns none; add what is wrong to ``problems``."""
    token = source()
    if isinstance(token, str):
        return check_token(token, "the API key that the function returned", problems)
    problems.append(f"api_key must be a function that returns a string, not {type(token).__name__}")
    return None


def _read_bytes(file: Path) -> bytes:
    """Return the beginning of a file. Raises TimeoutError when it is a pipe into which nothing is written."""
    if file.is_file() or not file.exists():
        return _read_beginning(file)
    # Opening a named pipe blocks until it has a writer, and no time-out can end that.
    found: list[bytes | OSError] = []
    thread = Thread(target=lambda: found.append(_read_or_error(file)), daemon=True)
    thread.start()
    thread.join(PIPE_TIMEOUT)
    if not found:
        raise TimeoutError
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def _read_beginning(file: Path) -> bytes:
    with file.open("rb") as opened:
        # No key is as long, and /dev/zero never ends.
        return opened.read(MAX_FILE_SIZE)


def _read_or_error(file: Path) -> bytes | OSError:
    try:
        return _read_beginning(file)
    except OSError as error:
        return error


def _decode(data: bytes) -> str:
    """Return the text of UTF-8, with or without a byte order mark, or of PowerShell's UTF-16. Raises ValueError."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    if b"\0" in data:
        message = "neither UTF-8 nor UTF-16 with a byte order mark"
        raise ValueError(message)
    return data.decode("utf-8-sig")


def check_token(given: object, what: str, problems: list[str]) -> str | None:
    """Return the token as the header carries it, or None when it is invalid; add what is wrong to ``problems``."""
    if given is None:
        problems.append("no API key: set GCORE_API_KEY or GCORE_API_KEY_FILE, or pass api_key")
        return None
    token = str(given).strip().removeprefix("\ufeff")
    # The documentation shows the whole value of the Authorization header, which is then pasted with its scheme.
    token = re.sub(r"(?i)^apikey\s+", "", token)
    if re.fullmatch(r"[!-~]+", token):
        return Secret(token)
    problems.append(f"{what} is {'not a token: it contains spaces or control characters' if token else 'empty'}")
    return None
