"""Django's registration of single sign-on, which also brings the rule for passwords while only single sign-on is allowed."""

from django.apps import AppConfig

from opssentinal.workspace import password_refusal, passwordless


class SingleSignOnConfig(AppConfig):
    """Registers `opssentinal.sso`."""

    name = "opssentinal.sso"
    label = "sso"
    verbose_name = "Single sign-on"

    def ready(self) -> None:
        """Have the workspace ask whether an account may still use its password, and whether it can do without."""
        from opssentinal.sso.configuration import is_enabled, password_rule

        password_refusal.add_password_refusal(password_rule)
        passwordless.add_way_in(is_enabled)
