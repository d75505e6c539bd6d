"""The addresses of identity. Of allauth's pages only those this product offers are routed; sign-up and the like are 404."""

from allauth.account import views as allauth_views
from django.urls import include, path, re_path

from opssentinal.workspace import views

_pages = [
    path("setup", views.setup, name="setup"),
    path("profile/", views.profile, name="profile"),
]

urlpatterns = [
    path("", include((_pages, "workspace"))),
    # allauth finds its own pages by these names.
    path("accounts/login/", allauth_views.login, name="account_login"),
    path("accounts/logout/", allauth_views.logout, name="account_logout"),
    re_path(
        r"^accounts/password/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>set-password|[0-9a-z]+-[0-9a-f]+)/$",
        views.password_by_link,
        name="account_reset_password_from_key",
    ),
    path(
        "accounts/password/done/",
        allauth_views.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("profile/password/", allauth_views.password_change, name="account_change_password"),
    path("profile/sessions/", views.sessions, name="usersessions_list"),
]
