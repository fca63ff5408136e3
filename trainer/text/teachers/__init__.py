"""Teachers: other models, the student's own snapshots, privileged contexts, files and endpoints."""

from trainer.text.teachers.contexts import privileged_text
from trainer.text.teachers.loading import Teachers, open_teachers
from trainer.text.teachers.teacher_view import TeacherView

__all__ = ["TeacherView", "Teachers", "open_teachers", "privileged_text"]
