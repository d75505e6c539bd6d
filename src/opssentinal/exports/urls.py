"""The addresses below /insights/exports/."""

from django.urls import path

from opssentinal.exports import views

app_name = "exports"
urlpatterns = [
    path("", views.index, name="index"),
    path("new/", views.create, name="create"),
    path("<str:public_id>/", views.detail, name="detail"),
    path("<str:public_id>/progress/", views.progress, name="progress"),
    path("<str:public_id>/cancel/", views.cancel, name="cancel"),
    path("<str:public_id>/download/", views.download, name="download"),
]
