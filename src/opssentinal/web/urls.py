"""The addresses of the shell and of Insights."""

from django.urls import path

from opssentinal.web import health, views

app_name = "web"

urlpatterns = [
    path("", views.start, name="start"),
    path("theme/", views.theme, name="theme"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
