"""The addresses of identity. Of allauth's pages only those this product offers are routed; sign-up and the like are 404."""

from allauth.account import views as allauth_views
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from opssentinal.workspace import settings_pages, views
from opssentinal.workspace.factor_urls import FACTORS, SECOND_STEP
from opssentinal.workspace.forgotten_views import ForgottenPassword
from opssentinal.workspace.mail import is_configured

_pages = [
    path("setup", views.setup, name="setup"),
    path("profile/", views.profile, name="profile"),
    path("settings/general/", settings_pages.general, name="general"),
    path("settings/general/workspace/", settings_pages.update_general, name="update_general"),
    path("settings/general/email/", settings_pages.update_email, name="update_email"),
    path("settings/general/email/test/", settings_pages.test_email, name="test_email"),
    path("settings/security/", settings_pages.security, name="security"),
    path("settings/security/rules/", settings_pages.update_security, name="update_security"),
]

_ENTRANCE = {"can_mail": is_configured}  # asked when the page is rendered

urlpatterns = [
    path("", include((_pages, "workspace"))),
    # allauth finds its own pages by these names.
    path("accounts/login/", allauth_views.LoginView.as_view(extra_context=_ENTRANCE), name="account_login"),
    path("accounts/logout/", allauth_views.logout, name="account_logout"),
    re_path(
        r"^accounts/password/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>set-password|[0-9a-z]+-[0-9a-f]+)/$",
        views.password_by_link,
        name="account_reset_password_from_key",
    ),
    path(
        "accounts/password/done/",
        RedirectView.as_view(pattern_name="account_login"),  # which shows that it is done
        name="account_reset_password_from_key_done",
    ),
    path("accounts/password/forgotten/", ForgottenPassword.as_view(), name="account_reset_password"),
    path("accounts/password/sent/", allauth_views.password_reset_done, name="account_reset_password_done"),
    path("accounts/reauthenticate/", allauth_views.reauthenticate, name="account_reauthenticate"),
    *SECOND_STEP,
    path("profile/second-factor/", include(FACTORS)),
    path("profile/password/", views.password, name="account_change_password"),
    path("profile/sessions/", views.sessions, name="usersessions_list"),
]
