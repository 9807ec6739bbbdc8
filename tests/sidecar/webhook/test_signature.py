"""The secrets of webhooks: signatures, rotation, and files that are no secret."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from webhook_parts import OTHER_SECRET, SECRET, write_secrets

from waiter.errors import ConfigurationError
from waiter.sidecar.webhook.signature import SecretFile


def signatures(secrets: SecretFile) -> list[str]:
    return secrets.headers("msg_1", 1_800_000_000, b'{"id": "a"}')["webhook-signature"].split()


def test_signature_is_that_of_the_specification(tmp_path: Path) -> None:
    """The expected one was made by the package standardwebhooks 1.1.0."""
    secrets = SecretFile(write_secrets(tmp_path / "secret", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"))
    assert secrets.headers("msg_1", 1_800_000_000, b'{"id": "a"}') == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1800000000",
        "webhook-signature": "v1,WY7NWtTlc84j0PLHdUi2oEtDqIYfb3gsdXPE+8uCDSY=",
    }


def test_rotated_secret_is_used_for_the_next_signature(tmp_path: Path) -> None:
    """While the file has two secrets, both sign, the first line first."""
    file = write_secrets(tmp_path / "secret", SECRET)
    secrets = SecretFile(file)
    (old,) = signatures(secrets)
    write_secrets(file, OTHER_SECRET, "", SECRET)
    new, also_old = signatures(secrets)
    write_secrets(file, OTHER_SECRET)
    assert (also_old, signatures(secrets)) == (old, [new])
    assert new != old


def test_secrets_are_kept_while_the_file_is_invalid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One warning for each time that it becomes invalid; it has no part of the file."""
    file = write_secrets(tmp_path / "secret", SECRET)
    secrets = SecretFile(file)
    before = signatures(secrets)
    file.unlink()
    assert [signatures(secrets), signatures(secrets)] == [before, before]
    write_secrets(file, SECRET)
    assert signatures(secrets) == before
    file.write_text("hunter2")
    assert signatures(secrets) == before
    form = "must be a webhook secret: whsec_ and 24 to 64 bytes in base64"
    assert capsys.readouterr().err.splitlines() == [
        f"waiter: cannot read the webhook secrets from {file}: No such file or directory; the previous ones are used",
        f"waiter: each line of {file} {form}; the previous ones are used",
    ]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        b64encode(b"a" * 24).decode(),
        f"whsec_{b64encode(b'a' * 23).decode()}",
        f"whsec_{b64encode(b'a' * 65).decode()}",
        "whsec_" + "a" * 31 + "!",
        "whsec_" + "a" * 33,
        f"{SECRET}\nhunter2",
        "whsec_" + "\xe4" * 40,
    ],
)
def test_file_without_valid_secrets_is_an_error(tmp_path: Path, content: str) -> None:
    """Every line must be one, and the error does not quote it."""
    (tmp_path / "secret").write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        SecretFile(tmp_path / "secret")
    assert str(caught.value) == (
        f"each line of {tmp_path / 'secret'} must be a webhook secret: whsec_ and 24 to 64 bytes in base64"
    )


def test_secret_without_padding_is_valid(tmp_path: Path) -> None:
    """It is the same as with padding."""
    padded = f"whsec_{b64encode(b'a' * 25).decode()}"
    with_padding = SecretFile(write_secrets(tmp_path / "padded", padded))
    without = SecretFile(write_secrets(tmp_path / "bare", padded.rstrip("=")))
    assert padded.endswith("==")
    assert signatures(with_padding) == signatures(without)


def test_secret_is_in_no_representation(tmp_path: Path) -> None:
    """Tracebacks with local variables show only the name of the file."""
    secrets = SecretFile(write_secrets(tmp_path / "secret", SECRET))
    assert repr(secrets) == f"SecretFile('{tmp_path / 'secret'}')"
    assert repr(vars(secrets)["_secrets"]) == "[b'***']"
