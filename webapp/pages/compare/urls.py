"""URLs of comparisons."""

from __future__ import annotations

from django.urls import path

from webapp.pages.compare import compare, saved, side_by_side

urlpatterns = [
    path("compare/", compare.compare, name="compare"),
    path("compare/series.json", compare.compare_series, name="compare_series"),
    # Before "compare/<str:comparison_id>/", which would take "answers", "save" and "share" for ids.
    path("compare/answers/", side_by_side.side_by_side, name="side_by_side"),
    path("compare/save/", saved.save, name="save_comparison"),
    path("compare/share/", saved.share_new, name="share_new_comparison"),
    path("compare/<str:comparison_id>/", compare.comparison, name="comparison"),
    path(
        "compare/<str:comparison_id>/series.json",
        compare.comparison_series,
        name="comparison_series",
    ),
    path("compare/<str:comparison_id>/save/", saved.save_changes, name="save_comparison_changes"),
    path("compare/<str:comparison_id>/delete/", saved.delete, name="delete_comparison"),
    path("compare/<str:comparison_id>/share/", saved.share, name="share_comparison"),
    path(
        "compare/<str:comparison_id>/share/<int:link_id>/revoke/",
        saved.revoke,
        name="revoke_comparison_share",
    ),
]
