"""The addresses below /insights/incidents/."""

from django.urls import path

from opssentinal.incidents import attaching, views

app_name = "incidents"
urlpatterns = [
    path("", views.index, name="index"),
    path("new/", views.create, name="create"),
    path("attach/<int:seq>/", attaching.choose, name="attach"),
    path("<int:number>/", views.detail, name="detail"),
    path("<int:number>/edit/", views.edit, name="edit"),
    path("<int:number>/notes/", views.add_note, name="add_note"),
    path("<int:number>/events/", attaching.attach, name="attach_to"),
]
