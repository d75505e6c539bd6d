"""A small OpenID provider on the loopback address, which can be told to misbehave.

It speaks real HTTP, signs with real keys and is as strict about its client as providers are: redirect URI, client secret,
PKCE verifier, and codes that work once. A test changes one thing, and everything else stays right.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "opssentinal", "a client's secret: 7"
REDIRECT_URI = "http://127.0.0.1:8000/accounts/sso/1/callback/"
DANA = {
    "sub": "0b6f8e3c-dana",
    "email": "dana@example.com",
    "email_verified": True,
    "name": "Dana Doe",
    "groups": ["staff", "on-call"],
}

Claims = dict[str, Any]


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class OpenIDProvider:
    """The provider, whose attributes say how it behaves."""

    keys: ClassVar = [
        _key(),
        _key(),
    ]  # of all servers, since making them takes a while: its own, and one it does not publish

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.provider = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self.person: Claims = dict(DANA)
        self.metadata: Claims = {}
        self.token_claims: Callable[[Claims], Claims] = lambda claims: claims
        self.sign: Callable[[Claims], str] = self.signed
        self.userinfo: Callable[[Claims], Claims] = lambda claims: claims
        self.answer: dict[str, str | None] = {}  # what the authorization response says beside or instead
        self.authentication: list[str] = []  # how clients showed their secret
        self.asked: list[dict[str, str]] = []  # authorization requests
        self.requests: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def signed(self, claims: Claims, *, key: int = 0, algorithm: str = "RS256", kid: str | None = "one") -> str:
        """The claims as a JWT, by default as they should be signed."""
        return jwt.encode(claims, self.keys[key], algorithm=algorithm, headers={"kid": kid} if kid else None)

    def public_jwk(self, kid: str = "one") -> Claims:
        """What the provider publishes of its key."""
        jwk: Claims = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.keys[0].public_key()))
        return {name: jwk[name] for name in ("kty", "n", "e")} | {"kid": kid, "use": "sig", "alg": "RS256"}

    def configuration(self) -> Claims:
        """The discovery document."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=one",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "authorization_response_iss_parameter_supported": True,
        } | self.metadata

    def authorize(self, asked: dict[str, str]) -> str:
        """Sign the person in and return where the browser goes then."""
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["redirect_uri"] == REDIRECT_URI
        assert asked["code_challenge_method"] == "S256"
        assert asked["tenant"] == "one", "the endpoint's own query is kept"
        self.asked.append(asked)
        code = secrets.token_urlsafe(8)
        self._codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.issuer} | self.answer
        return f"{REDIRECT_URI}?{urlencode({k: v for k, v in answer.items() if v is not None})}"

    def token(self, given: dict[str, str], authorization: str | None) -> tuple[int, Claims]:
        """The token endpoint's status and answer."""
        if authorization:
            shown = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        else:
            shown = f"{given.get('client_id')}:{given.get('client_secret')}"
        self.authentication.append("basic" if authorization else "post")
        if shown != f"{CLIENT_ID}:{CLIENT_SECRET}":
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(given.get("code", ""), None)
        verifier = given.get("code_verifier", "")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge or given.get("redirect_uri") != REDIRECT_URI:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = self.token_claims(
            {
                "iss": self.issuer,
                "sub": self.person["sub"],
                "aud": CLIENT_ID,
                "iat": now,
                "exp": now + 300,
                "nonce": asked.get("nonce"),
            }
        )
        return 200, {"access_token": "an access token", "token_type": "Bearer", "id_token": self.sign(claims)}


class _Handler(BaseHTTPRequestHandler):
    @property
    def provider(self) -> OpenIDProvider:
        return self.server.provider  # type: ignore[attr-defined, no-any-return]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.provider.requests.append(f"GET {parts.path}")
        if parts.path == "/.well-known/openid-configuration":
            self._send(200, self.provider.configuration())
        elif parts.path == "/jwks":
            self._send(200, {"keys": [self.provider.public_jwk()]})
        elif parts.path == "/authorize":
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self.send_response(302)
            self.send_header("Location", self.provider.authorize(asked))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif parts.path == "/userinfo" and self.headers["Authorization"] == "Bearer an access token":
            self._send(200, self.provider.userinfo(dict(self.provider.person)))
        else:
            self._send(404, {"error": "not_found"})

    def do_POST(self) -> None:
        self.provider.requests.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        given = {name: values[0] for name, values in parse_qs(body).items()}
        self._send(*self.provider.token(given, self.headers["Authorization"]))

    def _send(self, status: int, content: Claims) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests tell what matters."""
