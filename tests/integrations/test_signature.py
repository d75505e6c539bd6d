"""Signatures are those of Standard Webhooks 1.0.0."""

from __future__ import annotations

import base64

from opssentinal.integrations import signature
from tests.integrations.conftest import Received

# The vector of the specification's own libraries (github.com/standard-webhooks/standard-webhooks, libraries/*/tests).
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_vector() -> None:
    """Secret, id, timestamp and body of the specification's libraries give their signature."""
    assert signature.sign(SECRET, ID, TIMESTAMP, BODY) == SIGNATURE


def test_headers_carry_one_signature_per_secret() -> None:
    """Several secrets give several signatures, separated by spaces; the first is that of the newest secret."""
    other = signature.make_secret()
    headers = signature.headers([SECRET, other], ID, TIMESTAMP, BODY)
    assert headers["webhook-id"] == ID
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"].split(" ") == [SIGNATURE, signature.sign(other, ID, TIMESTAMP, BODY)]


def test_secrets_are_long_and_different() -> None:
    """A secret is whsec_ and 24 to 64 random bytes in base64."""
    made = {signature.make_secret() for _ in range(50)}
    assert len(made) == 50
    for secret in made:
        assert secret.startswith("whsec_")
        assert 24 <= len(base64.b64decode(secret[6:], validate=True)) <= 64


def test_the_check_of_these_tests_is_the_specifications() -> None:
    """What the receiver in these tests checks with accepts the published vector and nothing altered."""
    headers = {"webhook-id": ID, "webhook-timestamp": str(TIMESTAMP), "webhook-signature": f"v1,x {SIGNATURE}"}
    assert Received(headers, BODY).is_signed_with(SECRET)
    assert not Received(headers, BODY + b" ").is_signed_with(SECRET)
    assert not Received(headers | {"webhook-id": "msg_2"}, BODY).is_signed_with(SECRET)
