"""Teachers: other models, the student's own snapshots, privileged contexts, files and endpoints."""

from trainer.text.teachers.contexts import privileged_text
from trainer.text.teachers.loading import Teachers, open_teachers
from trainer.text.teachers.teacher_view import TeacherView
from trainer.text.teachers.teacher_writer import TeacherWriter, WrittenAnswers, write_answers

__all__ = [
    "TeacherView",
    "TeacherWriter",
    "Teachers",
    "WrittenAnswers",
    "open_teachers",
    "privileged_text",
    "write_answers",
]
