"""The addresses below /settings/data-retention/."""

from django.urls import path

from opssentinal.retention import views

app_name = "retention"
urlpatterns = [
    path("", views.index, name="index"),
    path("audit/", views.update_audit, name="audit"),
    path("cleanup/", views.update_cleanup, name="cleanup"),
]
