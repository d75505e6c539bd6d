"""Django's registration of the API keys app, which also has keys end with the admin role of who made them."""

from django.apps import AppConfig

from opssentinal.workspace import demotion


class APIKeysConfig(AppConfig):
    """Registers `opssentinal.apikeys`."""

    name = "opssentinal.apikeys"
    label = "apikeys"
    verbose_name = "API keys"

    def ready(self) -> None:
        """Have the workspace revoke the keys of an account that is no admin any more."""
        from opssentinal.apikeys.services import revoke_keys_made_by

        demotion.add_consequence("api_keys_revoked", revoke_keys_made_by)
