"""The addresses below /settings/approvals/."""

from django.urls import path

from opssentinal.approvals import views

app_name = "approvals"
urlpatterns = [
    path("", views.index, name="index"),
    path("<int:pk>/<str:verdict>/", views.decide, name="decide"),
]
