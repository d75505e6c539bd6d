"""Addresses of Settings → API keys."""

from django.urls import path

from opssentinal.apikeys import views

app_name = "apikeys"
urlpatterns = [
    path("", views.index, name="index"),
    path("new/", views.create, name="create"),
    path("<str:public_id>/revoke/", views.revoke, name="revoke"),
]
