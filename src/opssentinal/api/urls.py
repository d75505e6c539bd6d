"""Addresses of the HTTP API. Whatever else is asked for below /api/ is answered by a problem, not by a page."""

from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt

from opssentinal.api.application import urls
from opssentinal.api.responses import api_view, no_such_address

urlpatterns = [
    path("v1/", urls),
    re_path(r"^(?P<rest>.*)$", csrf_exempt(api_view(no_such_address))),
]
