"""Signing in and out, and sessions."""

from __future__ import annotations

from opssentinal.events.event_type import BOB, EventType, example

TYPES = (
    EventType(
        action="login.success",
        category="authentication",
        title="Signed in",
        description="Somebody signed in.",
        sentence="{actor} signed in",
        example=example("login.success", metadata={"method": "password"}),
    ),
    EventType(
        action="login.failure",
        category="authentication",
        title="Sign-in failed",
        description="An attempt to sign in was refused. The actor is the account if there is one, else the address typed.",
        sentence="{actor} failed to sign in",
        example=example(
            "login.failure", outcome="failure", metadata={"method": "password", "reason": "wrong_password"}
        ),
    ),
    EventType(
        action="logout",
        category="authentication",
        title="Signed out",
        description="Somebody signed out.",
        sentence="{actor} signed out",
        example=example("logout"),
    ),
    EventType(
        action="session.revoked",
        category="authentication",
        title="Session revoked",
        description="A session was ended by its owner from elsewhere, or by an admin.",
        sentence="{actor} revoked a session of {target}",
        example=example("session.revoked", BOB, metadata={"session_id": "6f1e…"}),
    ),
)
