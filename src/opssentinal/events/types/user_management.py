"""Accounts: who may be here, and as what."""

from __future__ import annotations

from opssentinal.events.event_type import BOB, EventType, example

TYPES = (
    EventType(
        action="user.created",
        category="user_management",
        title="User created",
        description="An account was created.",
        sentence="{actor} created the user {target}",
        sensitive=True,
        example=example("user.created", BOB, metadata={"role": "member"}),
    ),
    EventType(
        action="user.updated",
        category="user_management",
        title="User updated",
        description="A profile field of an account changed, its password, or its second factor, passkeys or recovery codes.",
        sentence="{actor} updated {changes} of {target}",
        example=example("user.updated", BOB, changes=[{"field": "name", "before": "Bob", "after": "Robert"}]),
    ),
    EventType(
        action="user.deactivated",
        category="user_management",
        title="User deactivated",
        description="An account was switched off; its sessions and API keys ended.",
        sentence="{actor} deactivated {target}",
        sensitive=True,
        example=example("user.deactivated", BOB),
    ),
    EventType(
        action="user.role_changed",
        category="user_management",
        title="Role changed",
        description="An account was given another role.",
        sentence="{actor} changed the role of {target}{changes_from_to}",
        sensitive=True,
        example=example("user.role_changed", BOB, changes=[{"field": "role", "before": "member", "after": "admin"}]),
    ),
    EventType(
        action="user.reactivated",
        category="user_management",
        title="User reactivated",
        description="An account was switched on again; it signs in anew.",
        sentence="{actor} reactivated {target}",
        sensitive=True,
        example=example("user.reactivated", BOB),
    ),
    EventType(
        action="user.link_issued",
        category="user_management",
        title="Password link issued",
        description="A one-time link to set a password was made: an invitation, a reset by an admin or by command, or one"
        " sent by e-mail to somebody who forgot theirs.",
        sentence="{actor} issued a link for {target} to set a password",
        sensitive=True,
        example=example("user.link_issued", BOB, metadata={"purpose": "invitation", "sent_by": "link"}),
    ),
)
