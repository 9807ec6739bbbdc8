"""The API token: read, checked, and kept out of everything that is shown."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

SHORTEST_HIDDEN = 6
LARGEST_FILE = 2**16


class Secret(str):
    """Text that keeps itself to itself where a traceback or a log shows local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class SecretBytes(bytes):
    """Like Secret, in bytes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "b'***'"


class ApiKey:
    """The API token, which shows itself to nobody but the request's header."""

    def __init__(self, token: str, file: Path | None = None) -> None:
        self._file = file
        self._set(token)

    def __repr__(self) -> str:
        return "ApiKey(***)"

    @property
    def header(self) -> Secret:
        """The value of the Authorization header."""
        return Secret(f"apikey {self._token}")

    def read_again(self) -> None:
        """Take the token anew from its file, if it has one and what it holds can be a token."""
        if self._file is None:
            return
        problems: list[str] = []
        self._set(read_token(self._file, problems) or self._token)

    def hide(self, text: str) -> str:
        """Give the text without the token, in case somebody echoes it, plain, in JSON's escapes or percent-encoded."""
        return self._echo.sub("***", text)

    def hide_in_bytes(self, body: bytes) -> bytes:
        """Give the bytes without the token, as ``hide`` does; one so short that it may stand in any text is let be."""
        if len(self._token) < SHORTEST_HIDDEN:
            return body
        body = body.replace(self._token.encode(), b"***")
        # A large listing has neither, and then 2 MB take 0.2 ms instead of 8.
        return self._echo_in_bytes.sub(b"***", body) if b"\\" in body or b"%" in body else body

    def _set(self, token: str) -> None:
        self._token = token
        echo = "".join(map(_echo, token))
        self._echo, self._echo_in_bytes = re.compile(echo), re.compile(echo.encode())


def _echo(char: str) -> str:
    """Match a character of a token in every way in which JSON (RFC 8259, 7) or a URL (RFC 3986, 2.1) can write it."""
    code = f"(?i:{ord(char):02x})"
    return rf"(?:{re.escape(char)}|\\{re.escape(char)}|\\u00{code}|%{code})"


def read_token(file: Path, problems: list[str]) -> str | None:
    """Read a token from its file; None, and a problem more, when there is none in it."""
    try:
        with file.open("rb") as opened:
            # No key is as long, and /dev/zero has no end.
            text = _decoded(opened.read(LARGEST_FILE))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text: save the key alone, in UTF-8"
        problems.append(f"cannot read the API key from {file}: {reason}")
        return None
    return checked_token(text, f"the API key in {file}", problems)


def _decoded(data: bytes) -> str:
    """Decode UTF-8, with or without a mark as Windows makes it, or the UTF-16 that PowerShell writes; raises ValueError."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    if b"\0" in data:
        message = "UTF-16 without a byte order mark, or no text at all"
        raise ValueError(message)
    return data.decode("utf-8-sig")


def checked_token(given: object, what: str, problems: list[str]) -> str | None:
    """Give what can be a token as it goes into a header; None, and a problem more, when it cannot."""
    if given is None:
        problems.append("no API key: set GCORE_API_KEY or GCORE_API_KEY_FILE, or pass api_key")
        return None
    token = str(given).strip().removeprefix("\ufeff")
    # An Authorization header that already begins with its scheme is what people paste from documentation.
    token = re.sub(r"(?i)^apikey\s+", "", token)
    if re.fullmatch(r"[!-~]+", token):
        return token
    problems.append(f"{what} is {'not a token: it has spaces or control characters in it' if token else 'empty'}")
    return None
