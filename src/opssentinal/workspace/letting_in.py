"""That an account was given another way in, told in the transaction that gave it: a room above the workspace keeps account of it.

Approvals does, since whoever opens such a way may be the one who goes through it.
"""

from __future__ import annotations

from django.dispatch import Signal

# Sent by `User` with the account as `user`: its password was set by a link, or another identity signs it in.
let_in = Signal()
