"""Addresses of the runs list and of the pages of one run."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
