"""Teachers of every kind: other models, the student's own snapshots, privileged contexts, and texts
from elsewhere.
"""

from trainer.text.teachers.contexts import privileged_text
from trainer.text.teachers.opening import Teachers, open_teachers
from trainer.text.teachers.views import TeacherView
from trainer.text.teachers.writing import Desk, Written, write_answers

__all__ = [
    "Desk",
    "TeacherView",
    "Teachers",
    "Written",
    "open_teachers",
    "privileged_text",
    "write_answers",
]
