"""The API token: read, checked, and hidden from everything that is shown."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from pathlib import Path

MIN_HIDDEN_LENGTH = 6
MAX_FILE_SIZE = 2**16


class Secret(str):
    """A str whose repr is masked, for tracebacks and logs that show local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class SecretBytes(bytes):
    """A bytes object whose repr is masked."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "b'***'"


class ApiKey:
    """The API token; only ``header`` returns it."""

    def __init__(self, token: str, file: Path | None = None) -> None:
        self._file = file
        self._set(token)

    def __repr__(self) -> str:
        return "ApiKey(***)"

    @property
    def header(self) -> Secret:
        """The value of the Authorization header."""
        return Secret(f"apikey {self._token}")

    def refresh(self) -> Secret:
        """Read the token from its file again, if it has one, and return the value of the header."""
        if self._file is not None:
            self._set(read_token(self._file, []) or self._token)
        return self.header

    def hide(self, text: str) -> str:
        """Return the text with the token masked, which a server may echo plain, in JSON's escapes or percent-encoded."""
        return self._echo.sub("***", text)

    def hide_in_headers(self, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return the headers with lower-case names and the token masked in their values."""
        mask = self._echo.sub
        return {name.lower(): mask("***", value) for name, value in headers}

    def hide_in_bytes(self, body: bytes) -> bytes:
        """Return the bytes with the token masked, as ``hide`` does; a token so short that it occurs in any text is kept."""
        if len(self._token) < MIN_HIDDEN_LENGTH:
            return body
        body = body.replace(self._token.encode(), b"***")
        # A large listing usually has neither, and then 2 MB take 0.2 ms instead of 8.
        return self._echo_in_bytes.sub(b"***", body) if b"\\" in body or b"%" in body else body

    def _set(self, token: str) -> None:
        self._token = token
        pattern = "".join(map(_echo_pattern, token))
        self._echo, self._echo_in_bytes = re.compile(pattern), re.compile(pattern.encode())


def _echo_pattern(char: str) -> str:
    """Return a pattern for every way in which JSON (RFC 8259, 7) or a URL (RFC 3986, 2.1) can write a character."""
    code = f"(?i:{ord(char):02x})"
    return rf"(?:{re.escape(char)}|\\{re.escape(char)}|\\u00{code}|%{code})"


def read_token(file: Path, problems: list[str]) -> str | None:
    """Return the token in a file, or None when it has none; add what is wrong to ``problems``."""
    try:
        with file.open("rb") as opened:
            # No key is as long, and /dev/zero never ends.
            text = _decode(opened.read(MAX_FILE_SIZE))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text: save only the key, in UTF-8"
        problems.append(f"cannot read the API key from {file}: {reason}")
        return None
    return check_token(text, f"the API key in {file}", problems)


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
        return token
    problems.append(f"{what} is {'not a token: it contains spaces or control characters' if token else 'empty'}")
    return None
