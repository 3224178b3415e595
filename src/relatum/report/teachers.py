"""Whom students learnt from, in words: a network, a table, or several of them."""

from relatum.record import TeacherRecord
from relatum.report.words import NOTHING, number, short


def size(parameters: int, *, brief: bool) -> str:
    """How many parameters a network has, for a table; a dash for a teacher that is none."""
    if not parameters:
        return NOTHING
    return short(parameters) if brief else f"{parameters:,}"


def teacher_in_words(name: str, parameters: int, of_student: int) -> str:
    """What a teacher is, beside the size of its student.

    Example:
        >>> teacher_in_words("resnet56", 860_000, 86_000)
        'resnet56: 860 k parameters, 10 times as many'
        >>> teacher_in_words("table:embeddings.parquet", 0, 86_000)
        'table:embeddings.parquet: no network'
    """
    if not parameters:
        return f"{name}: no network"
    times = f"{parameters / max(of_student, 1):.3g} times as many"
    return f"{name}: {short(parameters)} parameters, {times}"


def members_in_words(teacher: TeacherRecord | None) -> list[str]:
    """Each of several teachers: what it counts, and how accurate it is by itself."""
    found = []
    for each in teacher.members if teacher else ():
        told = [f"counts {number(100 * each.share, 1)} %"]
        if each.parameters:
            told.append(f"{short(each.parameters)} parameters")
        if "top1" in each.metrics:
            told.append(f"top-1 {number(each.metrics['top1'], 2)} %")
        found.append(f"{each.name}: {', '.join(told)}")
    return found
