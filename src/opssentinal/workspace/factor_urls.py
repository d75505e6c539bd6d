"""The addresses of second factors, by the names under which django-allauth finds them."""

from allauth.mfa.base import views as base
from django.urls import path

from opssentinal.workspace import factor_views as views

SECOND_STEP = [
    path("accounts/second-factor/", base.AuthenticateView.as_view(), name="mfa_authenticate"),
    path("accounts/passkey/", views.PasskeySignIn.as_view(), name="mfa_login_webauthn"),
]
FACTORS = [
    path("", views.Factors.as_view(), name="mfa_index"),
    path("prove/", base.ReauthenticateView.as_view(), name="mfa_reauthenticate"),
    path("prove/key/", views.ProveWithKey.as_view(), name="mfa_reauthenticate_webauthn"),
    path("app/add/", views.AddAuthenticatorApp.as_view(), name="mfa_activate_totp"),
    path("app/remove/", views.RemoveAuthenticatorApp.as_view(), name="mfa_deactivate_totp"),
    path("passkeys/add/", views.AddPasskey.as_view(), name="mfa_add_webauthn"),
    path("passkeys/<int:pk>/name/", views.RenamePasskey.as_view(), name="mfa_edit_webauthn"),
    path("passkeys/<int:pk>/remove/", views.RemovePasskey.as_view(), name="mfa_remove_webauthn"),
    path("recovery-codes/", views.RecoveryCodes.as_view(), name="mfa_view_recovery_codes"),
    path("recovery-codes/new/", views.NewRecoveryCodes.as_view(), name="mfa_generate_recovery_codes"),
]
