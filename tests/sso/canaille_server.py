"""Canaille, an OpenID provider of other people's making, as a process of its own: `python -m tests.sso.canaille_server PORT URI`.

It has its own pages to sign in on, its own keys and its own reading of the standard. One client (ours, with the redirect URI
given) and two people are known to it; it prints `ready` when it listens, and keeps everything in memory.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Self

REPOSITORY = Path(__file__).parents[2]
CLIENT_ID, CLIENT_SECRET = "opssentinal", "canaille-client-secret-123"
PASSWORD = "a canaille pass phrase 9"
# user name → name, address, groups
PEOPLE = {
    "ada": ("Ada Admin", "ada@example.com", ["staff"]),
    "max": ("Max Muster", "max@example.com", ["staff", "auditors"]),
    "eve": ("Eve Else", "eve@elsewhere.example", ["staff"]),
}


class CanailleProcess:
    """The provider, while the context lasts."""

    def __init__(self, port: int, redirect_uri: str) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, "-m", "tests.sso.canaille_server", str(port), redirect_uri]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the provider did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=20)


def main(port: int, redirect_uri: str) -> None:
    """Serve until the process is ended."""
    from canaille import create_app
    from canaille.app import models
    from canaille.backends import Backend
    from werkzeug.serving import make_server

    app = create_app(
        {
            "SECRET_KEY": "of a provider for tests",
            "SERVER_NAME": f"127.0.0.1:{port}",
            "PREFERRED_URL_SCHEME": "http",
            "SESSION_COOKIE_NAME": "canaille",  # cookies know hosts, not ports
            "CANAILLE": {"DATABASE": "memory", "NAME": "Test provider", "HTMX": False, "JAVASCRIPT": False},
            "CANAILLE_OIDC": {"TRUSTED_DOMAINS": ["opssentinal.example"]},  # whose clients need no consent
        }
    )
    # Its configuration schema has no field for this claim, its claims do.
    app.config["CANAILLE_OIDC"]["USERINFO_MAPPING"]["EMAIL_VERIFIED"] = "true"
    with app.app_context():
        people = {}
        for user_name, (name, email, _) in PEOPLE.items():
            people[user_name] = models.User(
                user_name=user_name, formatted_name=name, family_name=name.split()[1], emails=[email], password=PASSWORD
            )
            Backend.instance.save(people[user_name])
        for group in sorted({group for _, _, groups in PEOPLE.values() for group in groups}):
            members = [people[user_name] for user_name, (_, _, groups) in PEOPLE.items() if group in groups]
            Backend.instance.save(models.Group(display_name=group, members=members))
        client = models.Client(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            client_name="OpsSentinal",
            client_uri="https://opssentinal.example",
            redirect_uris=[redirect_uri],
            grant_types=["authorization_code"],
            response_types=["code"],
            scope=["openid", "profile", "email", "groups"],
            token_endpoint_auth_method="client_secret_post",
        )
        Backend.instance.save(client)
        client.audience = [client]
        Backend.instance.save(client)
    server = make_server("127.0.0.1", port, app, threaded=True)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
