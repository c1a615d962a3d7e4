"""Several teachers as one: a student learns from what their ensemble gives, which is cached as that of any teacher."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from kcompress.data import Dataset
from kcompress.training.ensembles.combine import ensemble
from kcompress.training.teachers import Teacher
from kcompress.typing import Combination


def joint_teacher(teachers: Sequence[Teacher], how: Combination, student: Any, data: Dataset, seed: int) -> Teacher:
    """The teacher that several are together; the only one as it is. `data` are training data for the student."""
    if len(teachers) == 1:
        return teachers[0]
    parts = [teacher.digest for teacher in teachers]
    content = json.dumps([parts, how, data.fingerprint(), seed])
    digest = hashlib.sha256(content.encode()).hexdigest() if all(parts) else ""

    def load() -> Any:
        models = [teacher.load() for teacher in teachers]
        return ensemble(models, [teacher.name for teacher in teachers], how, data, seed, student).model

    return Teacher(", ".join(teacher.name for teacher in teachers), digest, load)
