"""A receiver of OpsSentinal's webhooks with nothing but Python's standard library.

    WEBHOOK_SECRET=whsec_… python webhook_receiver.py 9000

It checks the signature, forgets what it has had already, and prints each event as a line of JSON.
"""

import base64
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

SECRET = os.environ["WEBHOOK_SECRET"]
TOLERANCE_S = 300
seen: set[str] = set()  # a real receiver keeps these where it keeps the events


def is_genuine(secret: str, headers, body: bytes, now: float) -> bool:
    """Whether the request was signed with the secret (Standard Webhooks 1.0.0), and not longer ago than the tolerance."""
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(now - int(timestamp)) > TOLERANCE_S:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, "sha256")
    wanted = "v1," + base64.b64encode(digest).decode()
    # While a secret is being replaced there are several signatures; one that fits is enough.
    return any(hmac.compare_digest(wanted, given) for given in headers.get("webhook-signature", "").split(" "))


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not is_genuine(SECRET, self.headers, body, time.time()):
            self.answer(401)
            return
        webhook_id = self.headers["webhook-id"]
        if webhook_id not in seen:
            for event in json.loads(body)["data"]["events"]:
                print(json.dumps(event), flush=True)
            seen.add(webhook_id)  # only now: had we failed above, it should come again
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
