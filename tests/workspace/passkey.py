"""A passkey in software: what a browser sends to have one added (WebAuthn Level 3, Section 7.1, attestation `none`)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client
from fido2.cose import ES256
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    Aaguid,
    AttestationObject,
    AttestedCredentialData,
    AuthenticatorData,
    CollectedClientData,
)

from tests.workspace.test_second_factor import ROOT


def new_passkey(client: Client, name: str) -> dict[str, Any]:
    """The form that adds a passkey, with the answer to what the page asks just now."""
    page = client.get(ROOT + "passkeys/add/").content.decode()
    found = re.search(r'<script id="passkey-options" type="application/json">(.*?)</script>', page)
    assert found
    options = json.loads(found[1])["creation_options"]["publicKey"]
    host, flag = options["rp"]["id"], AuthenticatorData.FLAG
    key = ES256.from_cryptography_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    credential_id = hashlib.sha256(name.encode()).digest()
    data = AuthenticatorData.create(
        hashlib.sha256(host.encode()).digest(), flag.UP | flag.UV | flag.AT, 0,
        AttestedCredentialData.create(Aaguid.NONE, credential_id, key),
    )  # fmt: skip
    asked = CollectedClientData.create("webauthn.create", websafe_decode(options["challenge"]), f"https://{host}")
    answer = {
        "id": websafe_encode(credential_id),
        "rawId": websafe_encode(credential_id),
        "type": "public-key",
        "response": {
            "clientDataJSON": websafe_encode(asked),
            "attestationObject": websafe_encode(AttestationObject.create("none", data, {})),
        },
        "clientExtensionResults": {},
    }
    return {"name": name, "passwordless": "on", "credential": json.dumps(answer)}
