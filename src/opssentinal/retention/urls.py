"""The addresses below /settings/data-retention/."""

from django.urls import path

from opssentinal.retention import hold_views, views

app_name = "retention"
urlpatterns = [
    path("", views.index, name="index"),
    path("audit/", views.update_audit, name="audit"),
    path("safeguards/", views.update_safeguards, name="safeguards"),
    path("clock/", views.confirm_clock, name="clock"),
    path("changes/<int:pk>/cancel/", views.cancel_change, name="cancel"),
    path("holds/", hold_views.index, name="holds"),
    path("holds/new/", hold_views.place, name="hold"),
    path("holds/<int:pk>/release/", hold_views.release, name="release"),
    path("cleanup/", views.update_cleanup, name="cleanup"),
]
