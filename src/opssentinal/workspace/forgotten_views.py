"""Asking for a link because the password is forgotten: django-allauth's page with our way of answering."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import ResetPasswordForm
from allauth.account.views import PasswordResetView
from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from opssentinal.errors import Overloaded
from opssentinal.workspace.forgotten import ask_for_link
from opssentinal.workspace.mail import is_configured
from opssentinal.workspace.models import EMAIL_MAX
from opssentinal.workspace.principals import request_context


class ForgottenPasswordForm(ResetPasswordForm):
    """An address. Whether it is an account's is looked up later, and the page never tells."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"] = forms.EmailField(
            label="E-mail",
            max_length=EMAIL_MAX,
            widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
        )

    def clean_email(self) -> str:
        """Any address will do."""
        return str(self.cleaned_data["email"]).lower()

    def save(self, request: HttpRequest, **kwargs: Any) -> str:
        """Hand it on."""
        email = str(self.cleaned_data["email"])
        ask_for_link(email, request_context(request))
        return email


@method_decorator(never_cache, name="dispatch")
class ForgottenPassword(PasswordResetView):
    """Ask for a link; without a mail server the page says who can help instead."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not is_configured():
            return render(request, "account/password_reset.html", {"form": None})
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        try:
            response: HttpResponse = super().form_valid(form)
        except Overloaded as error:
            form.add_error(None, str(error))
            response = self.render_to_response(self.get_context_data(form=form))
            response.status_code = error.status
            response.headers["Retry-After"] = str(error.retry_after_s)
        return response
