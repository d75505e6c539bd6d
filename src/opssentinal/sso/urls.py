"""Addresses of Settings → Single sign-on and of signing in through the provider."""

from django.urls import path

from opssentinal.sso import sign_in_views, views

app_name = "sso"
urlpatterns = [
    path("settings/single-sign-on/", views.index, name="index"),
    path("settings/single-sign-on/connection/", views.update_connection, name="connection"),
    path("settings/single-sign-on/accounts/", views.update_accounts, name="accounts"),
    path("settings/single-sign-on/switch/", views.switch, name="switch"),
    path("settings/single-sign-on/test/", views.test, name="test"),
    path("settings/single-sign-on/tested/", views.tested, name="tested"),
    path("settings/single-sign-on/linked/", views.identities, name="identities"),
    path("accounts/sso/<int:provider_id>/", sign_in_views.start, name="start"),
    path("accounts/sso/<int:provider_id>/callback/", sign_in_views.callback, name="callback"),
]
