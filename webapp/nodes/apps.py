"""Registers machines with the access rules."""

from __future__ import annotations

from django.apps import AppConfig


class NodesConfig(AppConfig):
    name = "webapp.nodes"

    def ready(self) -> None:
        from webapp.access import registry
        from webapp.nodes.models import Device, Node

        # Every member sees the machines of the installation, an operator looks after them.
        registry.register(Node, Device, team=None)
