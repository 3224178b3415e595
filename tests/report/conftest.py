"""Runs that never ran: records and matrices with invented numbers, as a run would leave them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from relatum.recipes.benchmark import benchmark
from relatum.recipes.recipe import Recipe
from relatum.record import Record, Row, TeacherRecord, Unfinished, find, unfinished
from relatum.report.page import write_report
from relatum.report.standings import tables
from relatum.report.standings_page import write_benchmark

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TAUGHT = {"top1": 72.34}
TEACHER = {"top1": 98.9, "knn": 98.6, "probe": 98.8}
LEVELS = {"none": 95.0, "kd": 96.1, "pkt": 95.2, "rrkd": 96.6, "sp": 95.9, "rkd": 94.6}
Make = Callable[..., Record]


def make_record(
    label: str = "sp",
    seed: int = 0,
    top1: float | None = 97.0,
    *,
    metrics: Mapping[str, float] | None = None,
    changes: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Record:
    """A record: ``changes`` are fields of its recipe, ``fields`` its own."""
    taught = label not in ("none", "teacher")
    recipe = {"seed": seed, "epochs": 4, "method": label if taught else "none"}
    if taught:
        recipe["teacher"] = "runs/teacher"
    held: dict[str, Any] = {
        "label": label,
        "recipe": Recipe.of({**recipe, **(changes or {})}),
        "environment": {"relatum": "0.1.0", "torch": "2.15.0", "device": "cpu"},
        "classes": CLASSES,
        "parameters": 12_345,
        "encoder_parameters": 11_000,
        "macs": 400_000,
        "samples": {"train": 1437, "validation": 0, "test": 360},
        "rows": rows(label, seed, 4),
        "metrics": {**({} if top1 is None else {"top1": top1}), **(metrics or {})},
        "teacher": teacher() if taught else None,
        "seconds": 12.5,
    }
    return Record(**{**held, **fields})


def teacher() -> TeacherRecord:
    return TeacherRecord(
        name="digits-cnn", weights_sha256="ab" * 32, parameters=155_000, metrics=TEACHER
    )


def rows(label: str, seed: int, epochs: int, *, validation: bool = False) -> tuple[Row, ...]:
    generator = np.random.default_rng([seed, len(label)])
    found = list[Row]()
    for epoch in range(1, epochs + 1):
        noise = float(generator.normal(1, 0.03))
        losses = {"task": 2.3 * noise * epoch**-1.3}
        if label not in ("none", "teacher"):
            losses[label] = 0.04 * noise * epoch**-0.6
        found.append(
            Row(
                epoch=epoch,
                learning_rate=0.05,
                losses=losses,
                metrics={"validation_top1": 97 - 20 * noise / epoch} if validation else {},
                steps=22,
                samples=1408,
                seconds=0.4,
            )
        )
    return tuple(found)


def relations(seed: int, noise: float, *, teacher: bool, labels: bool = True) -> dict[str, Any]:
    """Matrices of fifty images of ten classes: the same teacher for every seed."""
    fixed = np.random.default_rng(0)
    classes = np.repeat(np.arange(10), 5)
    embedded = fixed.normal(size=(10, 16))[classes] + 0.5 * fixed.normal(size=(50, 16)) + 0.6
    student = embedded + noise * np.random.default_rng(seed + 1).normal(size=(50, 16))
    held: dict[str, Any] = {"student": cosine(student), "indices": np.arange(50) * 7}
    if teacher:
        held["teacher"] = cosine(embedded)
    if labels:
        held["labels"] = classes
    return held


def cosine(rows: Any) -> Any:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return (unit @ unit.T).astype(np.float32)


def save_run(folder: Path, record: Record, **matrices: Any) -> None:
    """A run's folder, with matrices unless they are empty."""
    record.save(folder)
    (folder / "recipe.json").write_text(record.recipe.model_dump_json(indent=1))
    if matrices:
        save_file(matrices, folder / "relations.safetensors")


def taught_runs(
    teacher: str | None,
    student: str,
    values: Mapping[str, Sequence[float]],
    *,
    dataset: str = "cifar100",
    metrics: Mapping[str, float] | None = None,
    **changes: Any,
) -> list[Record]:
    """Runs of a benchmark: for every label its top-1 by seed; the student alone has no teacher.

    Args:
        teacher: a network's name.
        student: likewise.
        values: top-1 by label, seeds from 0.
        dataset: of whose protocol ``changes`` are changes.
        metrics: whatever else was measured.
    """
    found = list[Record]()
    for label, tops in values.items():
        alone = label == "none"
        for seed, top1 in enumerate(tops):
            recipe = benchmark(
                dataset, None if alone else "runs/teacher", student, label, seed, **changes
            )
            known = TeacherRecord(
                name=teacher or "", weights_sha256="cd" * 32, parameters=900_000, metrics=TAUGHT
            )
            fields: dict[str, Any] = {
                "recipe": recipe,
                "teacher": None if alone or teacher is None else known,
                "samples": {"train": 50_000, "validation": 0, "test": 10_000},
            }
            found.append(make_record(label, seed, top1, metrics=metrics, **fields))
    return found


@pytest.fixture
def runs_of() -> Callable[..., list[Record]]:
    """Makes the runs of a benchmark's pair."""
    return taught_runs


@pytest.fixture
def make() -> Make:
    """Makes records."""
    return make_record


@pytest.fixture
def save() -> Callable[..., None]:
    """Writes a run's folder."""
    return save_run


@pytest.fixture
def matrices() -> Callable[..., dict[str, Any]]:
    """Makes relation matrices."""
    return relations


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``relatum bench`` leaves it: a teacher, the student alone, five methods."""
    folder = tmp_path_factory.mktemp("experiment")
    own = make_record(
        "teacher",
        changes={"student": "digits-cnn", "epochs": 8},
        metrics=TEACHER,
        parameters=155_000,
        macs=3_200_000,
    )
    save_run(folder / "teacher", own, **relations(0, 0.0, teacher=False))
    for place, (label, level) in enumerate(LEVELS.items()):
        for seed in range(3):
            save_run(
                folder / label / f"seed-{seed}",
                _student(label, seed, level, place),
                **relations(seed, 0.9 - 0.13 * place, teacher=label != "none"),
            )
    return folder


@pytest.fixture(scope="session")
def report(experiment: Path) -> Path:
    """The page about the experiment."""
    return write_report(experiment)


def save_benchmark(folder: Path, pictured: bool = True) -> list[Unfinished]:
    """A folder as ``relatum bench`` leaves it: two pairs, one method refused and one run failed."""
    pairs = {"resnet56": "resnet20", "resnet110": "resnet20"}
    for place, (teacher_, student) in enumerate(pairs.items()):
        generator = np.random.default_rng(place)
        values = {
            label: (level + generator.normal(0, 0.2, 3)).tolist()
            for label, level in {"none": 69.1, "kd": 70.7, "sp": 69.7, "crd": 71.2}.items()
            if place == 0 or label != "none"
        }
        for record in taught_runs(teacher_, student, values):
            alone, seed = record.label == "none", record.recipe.seed
            home = f"alone/{student}" if alone else f"{teacher_}--{student}/{record.label}"
            held = relations(seed, 0.4, teacher=not alone) if pictured else {}
            save_run(folder / home / f"seed-{seed}", record, **held)
    (folder / "resnet110--resnet20/crd/seed-2/record.json").unlink()
    about = {"teacher": "resnet110", "student": "resnet20"}
    reason = "the term 'crd' is not finite"
    lost = [
        Unfinished(label="crd", kind="failed", reason=reason, seed=2, **about),
        *(
            Unfinished(label="fsp", kind="refused", reason="unequal", seed=seed, **about)
            for seed in range(3)
        ),
    ]
    for each in lost:
        each.save(folder / f"resnet110--resnet20/{each.label}/seed-{each.seed}")
    return lost


def write_pages(folder: Path) -> Path:
    """The tables and pages of a benchmark, as the command writes them."""
    runs = find(folder)
    lost = [each for _, each in unfinished(folder)]
    return write_benchmark(folder, runs, tables([record for _, record in runs], lost))


@pytest.fixture
def saved_benchmark(tmp_path: Path) -> Path:
    """The folder of a benchmark without pictures, and without a page."""
    save_benchmark(tmp_path, pictured=False)
    return tmp_path


@pytest.fixture
def pages_of() -> Callable[[Path], Path]:
    """Writes a benchmark's pages."""
    return write_pages


@pytest.fixture(scope="session")
def benchmark_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a benchmark."""
    folder = tmp_path_factory.mktemp("benchmark")
    save_benchmark(folder)
    return write_pages(folder)


def _student(label: str, seed: int, level: float, place: int) -> Record:
    generator = np.random.default_rng([seed, place])
    top1 = level + float(generator.normal(0, 0.25))
    found = {
        "knn": top1 - 1.3,
        "gap_cosine": 0.31 - 0.03 * place + float(generator.normal(0, 0.01)),
        "cka": 0.7 + 0.03 * place,
    }
    if label != "none":
        found |= {"agreement": top1 - 0.4, "kept": 100 * top1 / TEACHER["top1"]}
    return make_record(
        label,
        seed,
        top1,
        metrics=found,
        rows=rows(label, seed, 4 if label != "rkd" else 5),
        notes=("no validation part, so the last epoch is the one",) if label == "sp" else (),
        idle=("head.weight", "head.bias") if label == "rrkd" else (),
    )
