"""Addresses of Settings → Integrations."""

from django.urls import path

from opssentinal.integrations import views

app_name = "integrations"
urlpatterns = [
    path("", views.index, name="index"),
    path("new/", views.create, name="create"),
    path("<str:public_id>/", views.detail, name="detail"),
    path("<str:public_id>/edit/", views.edit, name="edit"),
    path("<str:public_id>/secret/", views.rotate, name="rotate"),
    path("<str:public_id>/pause/", views.pause, name="pause"),
    path("<str:public_id>/resume/", views.resume, name="resume"),
    path("<str:public_id>/test/", views.test, name="test"),
    path("<str:public_id>/replay/", views.replay, name="replay"),
    path("<str:public_id>/delete/", views.delete, name="delete"),
    path("<str:public_id>/deliveries/<str:webhook_id>/", views.delivery, name="delivery"),
]
