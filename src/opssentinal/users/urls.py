"""The addresses below Settings → Users."""

from django.urls import path

from opssentinal.users import account_views, views

app_name = "users"

urlpatterns = [
    path("", views.index, name="index"),
    path("new/", views.invite, name="invite"),
    path("<int:pk>/", account_views.account, name="account"),
    path("<int:pk>/link/", account_views.link, name="link"),
    path("<int:pk>/link/revoke/", account_views.revoke_link, name="revoke_link"),
    path("<int:pk>/deactivate/", account_views.deactivate, name="deactivate"),
    path("<int:pk>/reactivate/", account_views.reactivate, name="reactivate"),
    path("<int:pk>/second-factor/", account_views.reset_second_factor, name="second_factor"),
    path("<int:pk>/sessions/", account_views.sessions, name="sessions"),
]
