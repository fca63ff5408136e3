"""Teachers: other models, the student's own snapshots, privileged contexts, files and endpoints."""
