"""The product's addresses and one guarded page."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from opssentinal.workspace.access import admin_required


@admin_required
def guarded(request: HttpRequest, number: int) -> HttpResponse:
    """A page for admins."""
    return HttpResponse(f"secret {number}")


urlpatterns = [path("guarded/<int:number>/", guarded, name="guarded"), path("", include("opssentinal.urls"))]
handler429 = "opssentinal.workspace.views.too_many_requests"
