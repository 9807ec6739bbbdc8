"""Receive the webhooks of ``waiter sidecar`` and print each once: ``python receive_webhook.py [PORT]``.

``WEBHOOK_SECRET`` is a line of the sidecar's --webhook-secret-file. Needs nothing but Python; the packages of
https://www.standardwebhooks.com verify the same signatures in other languages.
"""

import hashlib
import hmac
import json
import os
import sys
import time
from base64 import b64decode, b64encode
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = b64decode(os.environ["WEBHOOK_SECRET"].strip().removeprefix("whsec_"))
TOLERANCE = 300  # seconds; an older request may be a replay
MAX_BODY = 9_999_999  # bytes
seen: set[str] = set()  # in production in a database, together with what the webhook changes


def is_valid(headers: Message, body: bytes) -> bool:
    """Return whether the sidecar has signed this, and not long ago."""
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or len(timestamp) > len("1800000000") or abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    digest = hmac.digest(SECRET, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
    expected = f"v1,{b64encode(digest).decode()}".encode()
    # Each of several secrets signs; compared in constant time.
    signatures = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(expected, one) for one in signatures)


class Receiver(BaseHTTPRequestHandler):
    """Accepts signed webhooks; each may arrive more than once."""

    timeout = 10

    def do_POST(self) -> None:
        """Answer 401 unless it is signed, else 204."""
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or len(length) > len(str(MAX_BODY)):
            self.send_error(413)
            return
        body = self.rfile.read(int(length))
        if not is_valid(self.headers, body):
            self.send_error(401)
            return
        if self.headers["webhook-id"] not in seen:
            wait = json.loads(body)
            print(wait["id"], wait["status"], json.dumps(wait["created_resources"]), flush=True)
            seen.add(self.headers["webhook-id"])
        # Only now: what was not answered is sent again.
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log no requests."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9000), Receiver)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
