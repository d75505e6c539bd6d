"""Every address of the product's pages; each room brings its own."""

from django.urls import include, path

urlpatterns = [
    path("", include("opssentinal.web.urls")),
    path("", include("opssentinal.workspace.urls")),
    path("", include("opssentinal.sso.urls")),
    path("insights/incidents/", include("opssentinal.incidents.urls")),
    path("insights/exports/", include("opssentinal.exports.urls")),
    path("settings/approvals/", include("opssentinal.approvals.urls")),
    path("settings/integrations/", include("opssentinal.integrations.urls")),
    path("settings/data-retention/", include("opssentinal.retention.urls")),
    path("settings/users/", include("opssentinal.users.urls")),
    path("settings/api-keys/", include("opssentinal.apikeys.urls")),
    path("api/", include("opssentinal.api.urls")),
]

handler500 = "opssentinal.web.views.failed"
handler429 = "opssentinal.workspace.views.too_many_requests"  # asked for by django-allauth
