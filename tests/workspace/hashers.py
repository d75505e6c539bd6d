"""A password hasher that is quick and counts its work."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.hashers import Argon2PasswordHasher


class CountingHasher(Argon2PasswordHasher):
    """Argon2 with the least cost; `hashings` counts every encoding and every verification."""

    algorithm = "argon2"
    time_cost = 1
    memory_cost = 8
    parallelism = 1
    hashings: ClassVar[int] = 0

    def encode(self, password: str, salt: str) -> str:
        CountingHasher.hashings += 1
        return str(super().encode(password, salt))

    def verify(self, password: str, encoded: str) -> bool:
        CountingHasher.hashings += 1
        return bool(super().verify(password, encoded))

    def harden_runtime(self, *args: Any) -> None:
        raise AssertionError("a hash of the tests never needs hardening")
