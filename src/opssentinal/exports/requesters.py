"""Whether who asked for an export may still have it: between the click and the file, accounts and keys end."""

from __future__ import annotations

from opssentinal.apikeys.models import APIKey
from opssentinal.apikeys.principal import EXPORTS_WRITE
from opssentinal.exports.models import Export
from opssentinal.exports.services import Principal
from opssentinal.workspace.access import log_bounds, reads_log
from opssentinal.workspace.models import User


def may_still_be_made(export: Export) -> bool:
    """Whether the account may read what the export holds, or the key may export; whoever has a shell on the server may."""
    kind, _, id_ = export.principal.partition(":")
    match kind:
        case "user":
            return _account_may(id_, export)
        case "api_key":
            return _key_may(id_)
    return kind == "os_user"


def _account_may(id_: str, export: Export) -> bool:
    user = User.objects.filter(pk=int(id_)).first()
    if user is None or not user.can_sign_in or not reads_log(user):
        return False
    return Principal("user", id_, is_admin=user.is_admin, bounds=log_bounds(user)).may_take(export.filter)


def _key_may(public_id: str) -> bool:
    key = APIKey.objects.select_related("created_by").filter(public_id=public_id).first()
    if key is None or key.state != "active" or EXPORTS_WRITE not in key.scopes:
        return False
    return key.created_by is None or key.created_by.can_sign_in
