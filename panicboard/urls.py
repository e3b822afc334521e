"""Addresses. A page and what changes on it by itself are apart: `/events/` streams every page's fragments."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from panicboard import stream
from panicboard.views import countdowns, drills, pages, panics, presses, walls

urlpatterns = [
    path("", pages.board, name="board"),
    path("board/rows/", pages.board_rows, name="board-rows"),
    path("accounts/<int:pk>/", pages.account, name="account"),
    path("accounts/<int:pk>/countdowns/", countdowns.page, name="countdowns"),
    path("accounts/<int:pk>/countdowns/table/", countdowns.table, name="countdowns-table"),
    path("accounts/<int:pk>/countdowns/arm/", countdowns.arm, name="countdowns-arm"),
    path("accounts/<int:pk>/countdowns/disarm/", countdowns.disarm, name="countdowns-disarm"),
    path("accounts/<int:pk>/countdowns/unlock/", countdowns.unlock, name="countdowns-unlock"),
    path("accounts/<int:pk>/countdowns/rearm/", countdowns.rearm, name="countdowns-rearm"),
    path("accounts/<int:pk>/countdowns/bot/", countdowns.bot, name="countdowns-bot"),
    path("accounts/<int:pk>/countdowns/operator/", countdowns.operator, name="countdowns-operator"),
    path("presence/", countdowns.presence, name="presence"),
    path("limits/", pages.limits, name="limits"),
    path("limits/table/", pages.limits_table, name="limits-table"),
    path("drills/", drills.page, name="drills"),
    path("drills/<int:pk>/", drills.drill, name="drill"),
    path("panics/", pages.panics, name="panics"),
    path("panics/two-steps/", presses.two_steps, name="two-steps"),
    path("panics/<int:pk>/", panics.panic, name="panic"),
    path("panics/<int:pk>/orders/", panics.orders, name="panic-orders"),
    path("panics/<int:pk>/sweep/", panics.sweep_now, name="panic-sweep-now"),
    path("panics/<int:pk>/reason/", panics.reason, name="panic-reason"),
    path("panics/<int:pk>/release/", panics.release, name="panic-release"),
    path("panics/<int:pk>/record.json", panics.record_file, name="panic-record"),
    path("beat/<str:secret>/", countdowns.beat, name="beat"),
    path("wall/<str:secret>/", walls.wall, name="wall"),
    path("wall/<str:secret>/events/", walls.events, name="wall-events"),
    path("wall/<str:secret>/poll/", walls.poll, name="wall-poll"),
    path("events/", stream.events, name="events"),
    path("events/poll/", stream.poll, name="events-poll"),
    path("login/", LoginView.as_view(template_name="login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
]

handler403 = "panicboard.views.permission_denied"
handler500 = "panicboard.views.server_error"
