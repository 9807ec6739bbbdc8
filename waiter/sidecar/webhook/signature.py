"""The secrets that sign webhooks, and the headers of the Standard Webhooks specification.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from pathlib import Path

from waiter.config.api_key import SecretBytes
from waiter.console import stderr
from waiter.errors import ConfigurationError

PREFIX = "whsec_"
# The specification's bounds, in bytes.
MIN_LENGTH, MAX_LENGTH = 24, 64
MAX_FILE_SIZE = 4096


class SecretFile:
    """The secrets in a file, one a line; each signs, so that a receiver that knows either of two accepts the webhook.

    The file is read for each signature. When it has no valid secret any more, those that it had are used. Raises
    ConfigurationError when it has none at the start.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._secrets = self._read()
        self._is_valid = True

    def __repr__(self) -> str:
        return f"SecretFile({str(self._file)!r})"

    def headers(self, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """Return the identity, the time of this attempt in seconds since the epoch, and the signatures of both and the body."""
        self._reload()
        signed = f"{webhook_id}.{timestamp}.".encode() + body
        signatures = [f"v1,{b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()}" for secret in self._secrets]
        return {"webhook-id": webhook_id, "webhook-timestamp": str(timestamp), "webhook-signature": " ".join(signatures)}

    def _reload(self) -> None:
        try:
            self._secrets = self._read()
        except ConfigurationError as error:
            if self._is_valid:
                stderr.warn(f"{error}; the previous ones are used")
            self._is_valid = False
        else:
            self._is_valid = True

    def _read(self) -> list[SecretBytes]:
        try:
            with self._file.open("rb") as opened:
                lines = opened.read(MAX_FILE_SIZE).split(b"\n")
        except OSError as error:
            message = f"cannot read the webhook secrets from {self._file}: {error.strerror}"
            raise ConfigurationError(message) from error
        secrets = [_decode(line.strip()) for line in lines if line.strip()]
        valid = [secret for secret in secrets if secret is not None]
        if not secrets or len(valid) < len(secrets):
            form = f"{PREFIX} and {MIN_LENGTH} to {MAX_LENGTH} bytes in base64"
            message = f"each line of {self._file} must be a webhook secret: {form}"
            raise ConfigurationError(message)
        return valid


def _decode(line: bytes) -> SecretBytes | None:
    encoded = line.removeprefix(PREFIX.encode())
    if encoded == line:
        return None
    try:
        # Some tools leave out the padding.
        secret = b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        return None
    return SecretBytes(secret) if MIN_LENGTH <= len(secret) <= MAX_LENGTH else None
