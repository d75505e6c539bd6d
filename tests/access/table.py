"""Who may do what at every address of the product: the table that `test_matrix` holds the URL conf to, and nothing else.

An address that is not here fails the test, and so does a line here for which there is no address.
"""

from __future__ import annotations

from typing import NamedTuple

from opssentinal.apikeys.principal import (
    EVENTS_READ,
    EVENTS_WRITE,
    EXPORTS_READ,
    EXPORTS_WRITE,
    INCIDENTS_READ,
    INCIDENTS_WRITE,
    KEYS_ADMIN,
)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# Who is let in; everybody else who is signed in is refused, and who is not is led to sign in.
ROLES = ("anonymous", "member", "auditor", "auditor who reads", "admin")
OPEN = ROLES
GUESTS = ROLES[:1]  # and who is signed in already is sent on
SIGNED_IN = ROLES[1:]
LOG = ("auditor who reads", "admin")
ADMINS = ("admin",)

# What a view answers; every other method is 405.
READ = ("GET", "HEAD")
READ_POST = ("GET", "HEAD", "POST")
GET = ("GET",)
POST = ("POST",)
# Views of Django's and django-allauth's classes say what they can, and take a form by PUT as by POST.
CLASS = ("GET", "HEAD", "POST", "PUT", "OPTIONS")
CLASS_READ = ("GET", "HEAD", "OPTIONS")


class Page(NamedTuple):
    """One page: who is let in, by which methods, and what stands for the variable parts of its address."""

    audience: tuple[str, ...]
    methods: tuple[str, ...]
    parts: tuple[str, ...] = ()


_EXPORT = ("exp_" + "0" * 32,)
_INTEGRATION = ("int_00000000",)
_USER = ("somebody",)  # the primary key of an account; "a request" is that of one that waits for approval

PAGES: dict[str, Page] = {
    "": Page(SIGNED_IN, METHODS),
    "theme/": Page(OPEN, POST),
    "healthz": Page(OPEN, READ),
    "readyz": Page(OPEN, READ),
    "setup": Page(OPEN, READ_POST),
    # Insights
    "insights/audit-logs/": Page(LOG, READ),
    "insights/audit-logs/search-state/": Page(LOG, READ),
    "insights/audit-logs/<int:seq>/": Page(LOG, READ, ("0",)),
    "insights/audit-logs/<uuid:id_>/": Page(LOG, READ, ("00000000-0000-0000-0000-000000000007",)),
    "insights/event-types/": Page(SIGNED_IN, READ),
    "insights/incidents/": Page(SIGNED_IN, READ),
    "insights/incidents/new/": Page(SIGNED_IN, READ_POST),
    "insights/incidents/attach/<int:seq>/": Page(LOG, READ_POST, ("0",)),
    "insights/incidents/<int:number>/": Page(SIGNED_IN, READ, ("1",)),
    "insights/incidents/<int:number>/edit/": Page(SIGNED_IN, POST, ("1",)),
    "insights/incidents/<int:number>/notes/": Page(SIGNED_IN, POST, ("1",)),
    "insights/incidents/<int:number>/events/": Page(LOG, POST, ("1",)),
    "insights/exports/": Page(LOG, READ),
    "insights/exports/new/": Page(LOG, POST),
    "insights/exports/<str:public_id>/": Page(LOG, READ, _EXPORT),
    "insights/exports/<str:public_id>/progress/": Page(LOG, READ, _EXPORT),
    "insights/exports/<str:public_id>/cancel/": Page(LOG, POST, _EXPORT),
    "insights/exports/<str:public_id>/download/": Page(LOG, GET, _EXPORT),
    # Settings
    "settings/general/": Page(ADMINS, READ),
    "settings/general/workspace/": Page(ADMINS, POST),
    "settings/general/email/": Page(ADMINS, POST),
    "settings/general/email/test/": Page(ADMINS, POST),
    "settings/security/": Page(ADMINS, READ),
    "settings/security/rules/": Page(ADMINS, POST),
    "settings/single-sign-on/": Page(ADMINS, READ),
    "settings/single-sign-on/connection/": Page(ADMINS, POST),
    "settings/single-sign-on/accounts/": Page(ADMINS, POST),
    "settings/single-sign-on/switch/": Page(ADMINS, POST),
    "settings/single-sign-on/test/": Page(ADMINS, POST),
    "settings/single-sign-on/tested/": Page(ADMINS, READ),
    "settings/single-sign-on/linked/": Page(ADMINS, READ_POST),
    "settings/approvals/": Page(ADMINS, READ),
    "settings/approvals/<int:pk>/<str:verdict>/": Page(ADMINS, POST, ("a request", "grant")),
    "settings/integrations/": Page(ADMINS, READ),
    "settings/integrations/new/": Page(ADMINS, READ_POST),
    "settings/integrations/<str:public_id>/": Page(ADMINS, READ, _INTEGRATION),
    "settings/integrations/<str:public_id>/edit/": Page(ADMINS, READ_POST, _INTEGRATION),
    "settings/integrations/<str:public_id>/secret/": Page(ADMINS, READ_POST, _INTEGRATION),
    "settings/integrations/<str:public_id>/pause/": Page(ADMINS, POST, _INTEGRATION),
    "settings/integrations/<str:public_id>/resume/": Page(ADMINS, POST, _INTEGRATION),
    "settings/integrations/<str:public_id>/test/": Page(ADMINS, POST, _INTEGRATION),
    "settings/integrations/<str:public_id>/replay/": Page(ADMINS, READ_POST, _INTEGRATION),
    "settings/integrations/<str:public_id>/delete/": Page(ADMINS, READ_POST, _INTEGRATION),
    "settings/integrations/<str:public_id>/deliveries/<str:webhook_id>/": Page(ADMINS, READ, (*_INTEGRATION, "msg_0")),
    "settings/data-retention/": Page(ADMINS, READ),
    "settings/data-retention/audit/": Page(ADMINS, POST),
    "settings/data-retention/safeguards/": Page(ADMINS, POST),
    "settings/data-retention/clock/": Page(ADMINS, POST),
    "settings/data-retention/changes/<int:pk>/cancel/": Page(ADMINS, POST, ("1",)),
    "settings/data-retention/holds/": Page(ADMINS, READ),
    "settings/data-retention/holds/new/": Page(ADMINS, READ_POST),
    "settings/data-retention/holds/<int:pk>/release/": Page(ADMINS, READ_POST, ("1",)),
    "settings/data-retention/cleanup/": Page(ADMINS, POST),
    "settings/users/": Page(ADMINS, READ),
    "settings/users/new/": Page(ADMINS, READ_POST),
    "settings/users/<int:pk>/": Page(ADMINS, READ_POST, _USER),
    "settings/users/<int:pk>/link/": Page(ADMINS, POST, _USER),
    "settings/users/<int:pk>/link/revoke/": Page(ADMINS, POST, _USER),
    "settings/users/<int:pk>/deactivate/": Page(ADMINS, READ_POST, _USER),
    "settings/users/<int:pk>/reactivate/": Page(ADMINS, POST, _USER),
    "settings/users/<int:pk>/second-factor/": Page(ADMINS, READ_POST, _USER),
    "settings/users/<int:pk>/sessions/": Page(ADMINS, POST, _USER),
    "settings/api-keys/": Page(ADMINS, READ),
    "settings/api-keys/new/": Page(ADMINS, READ_POST),
    "settings/api-keys/<str:public_id>/revoke/": Page(ADMINS, READ_POST, ("k4fQ2mXw",)),
    # One's own. Who has not signed in just now is sent to do so again before a second factor changes, by any method.
    "profile/": Page(SIGNED_IN, READ_POST),
    "profile/sessions/": Page(SIGNED_IN, READ_POST),
    "profile/password/": Page(SIGNED_IN, CLASS),
    "profile/second-factor/": Page(SIGNED_IN, CLASS_READ),
    "profile/second-factor/prove/": Page(SIGNED_IN, METHODS),
    "profile/second-factor/prove/key/": Page(SIGNED_IN, METHODS),
    "profile/second-factor/app/add/": Page(SIGNED_IN, METHODS),
    "profile/second-factor/app/remove/": Page(SIGNED_IN, METHODS),
    "profile/second-factor/passkeys/add/": Page(SIGNED_IN, METHODS),
    "profile/second-factor/passkeys/<int:pk>/name/": Page(SIGNED_IN, METHODS, ("1",)),
    "profile/second-factor/passkeys/<int:pk>/remove/": Page(SIGNED_IN, METHODS, ("1",)),
    "profile/second-factor/recovery-codes/": Page(SIGNED_IN, CLASS_READ),
    "profile/second-factor/recovery-codes/new/": Page(SIGNED_IN, METHODS),
    # Signing in and out
    "accounts/login/": Page(GUESTS, CLASS),
    "accounts/logout/": Page(OPEN, ("GET", "HEAD", "POST", "OPTIONS")),
    "accounts/passkey/": Page(GUESTS, CLASS),
    "accounts/second-factor/": Page(GUESTS, METHODS),
    "accounts/reauthenticate/": Page(SIGNED_IN, CLASS),
    "accounts/password/forgotten/": Page(OPEN, METHODS),
    "accounts/password/sent/": Page(OPEN, CLASS_READ),
    "accounts/password/done/": Page(OPEN, METHODS),
    "^accounts/password/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>set-password|[0-9a-z]+-[0-9a-f]+)/$": Page(
        OPEN, METHODS, ("1-abc-0f",)
    ),
    "accounts/sso/<int:provider_id>/": Page(OPEN, POST, ("1",)),
    "accounts/sso/<int:provider_id>/callback/": Page(OPEN, GET, ("1",)),
}


# Of the API: method → the scope that a key must have, or None where no key is asked for.
OPERATIONS: dict[str, dict[str, str | None]] = {
    "api/v1/openapi.json": dict.fromkeys(METHODS),
    "api/v1/docs": dict.fromkeys(METHODS),
    "api/v1/events": {"GET": EVENTS_READ, "POST": EVENTS_WRITE},
    "api/v1/events/facets": {"GET": EVENTS_READ},
    "api/v1/events/histogram": {"GET": EVENTS_READ},
    "api/v1/events/<event>": {"GET": EVENTS_READ},
    "api/v1/events/<event>/proof": {"GET": EVENTS_READ},
    "api/v1/event-types": {"GET": EVENTS_READ},
    "api/v1/exports": {"GET": EXPORTS_READ, "POST": EXPORTS_WRITE},
    "api/v1/exports/<export_id>": {"GET": EXPORTS_READ, "DELETE": EXPORTS_WRITE},
    "api/v1/exports/<export_id>/file": {"GET": EXPORTS_READ},
    "api/v1/incidents": {"GET": INCIDENTS_READ, "POST": INCIDENTS_WRITE},
    "api/v1/incidents/<number>": {"GET": INCIDENTS_READ, "PATCH": INCIDENTS_WRITE},
    "api/v1/incidents/<number>/notes": {"POST": INCIDENTS_WRITE},
    "api/v1/incidents/<number>/events": {"POST": INCIDENTS_WRITE},
    "api/v1/api-keys": {"GET": KEYS_ADMIN, "POST": KEYS_ADMIN},
    "api/v1/api-keys/<key_id>": {"DELETE": KEYS_ADMIN},
}
# Below /api/ and nothing: a problem for everybody.
NOTHING = ("api/v1/", "api/^(?P<rest>.*)$")
