"""Finding runs: the filter language, its conditions, columns, order, groups and saved views."""
