"""The addresses of the shell and of Insights."""

from django.urls import path

from opssentinal.web import event_types, health, views
from opssentinal.web.log import views as log

app_name = "web"

urlpatterns = [
    path("", views.start, name="start"),
    path("theme/", views.theme, name="theme"),
    path("insights/audit-logs/", log.index, name="log"),
    path("insights/audit-logs/search-state/", log.search_state, name="search_state"),
    path("insights/audit-logs/<int:seq>/", log.event, name="event"),
    path("insights/audit-logs/<uuid:id_>/", log.event_by_id, name="event_by_id"),
    path("insights/event-types/", event_types.index, name="event_types"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
