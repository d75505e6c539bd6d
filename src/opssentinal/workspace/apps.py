"""Django's registration of the Workspace app."""

from django.apps import AppConfig


class WorkspaceConfig(AppConfig):
    """Registers `opssentinal.workspace`."""

    name = "opssentinal.workspace"
    label = "workspace"
    verbose_name = "Workspace"
