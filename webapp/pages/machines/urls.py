"""Addresses of the queue and of the machines."""

from __future__ import annotations

from django.urls import path

from webapp.pages.machines import machines, queue

urlpatterns = [
    path("queue/", queue.queue, name="queue"),
    path("queue/<str:run_id>/move/", queue.move_in_queue, name="move_in_queue"),
    path("queue/<str:run_id>/priority/", queue.set_priority, name="set_priority"),
    path("queue/<str:run_id>/hold/", queue.hold, name="hold"),
    path("machines/", machines.machines, name="machines"),
    path("machines/<int:node_id>/drain/", machines.drain, name="drain"),
    path("machines/<int:node_id>/undrain/", machines.undrain, name="undrain"),
    path("machines/<int:node_id>/forget/", machines.forget, name="forget"),
]
