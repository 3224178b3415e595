from collections.abc import Callable, Sequence

import pytest

from relatum.record import Record, Row
from relatum.report.course import course
from relatum.report.table import summarise

Make = Callable[..., Record]


def rows(
    values: Sequence[float], term: str = "task", metrics: dict[str, float] | None = None
) -> tuple[Row, ...]:
    return tuple(
        Row(
            epoch=epoch,
            learning_rate=0.1,
            losses={term: value},
            metrics=metrics or {},
            steps=1,
            samples=1,
            seconds=1,
        )
        for epoch, value in enumerate(values, start=1)
    )


def test_a_picture_for_each_term_and_means_over_seeds(make: Make) -> None:
    records = [
        make("none", 0, rows=rows([2.0, 1.0])),
        make("none", 1, rows=rows([4.0, 2.0])),
        make("sp", 0, rows=rows([0.5, 0.25], term="sp")),
    ]
    pictures = course(summarise(records))
    assert [picture.caption for picture in pictures] == ["loss: task", "loss: sp"]
    assert "student alone from 3 to 1.5" in pictures[0].alt
    assert "sp from" not in pictures[0].alt
    assert "sp from 0.5 to 0.25" in pictures[1].alt


def test_validation_comes_before_losses(make: Make) -> None:
    measured = {"validation_loss": 0.3, "validation_top1": 91.0}
    [picture] = course(summarise([make("none", rows=rows([2.0, 1.0], metrics=measured))]))
    assert picture.caption == "validation top1"
    assert "from 91 to 91" in picture.alt


def test_what_was_watched_is_drawn_after_the_primary_one(make: Make) -> None:
    first = {"validation_top1": 90.0, "validation_recall_1": 80.0, "validation_gap_gram": 0.4}
    then = first | {"validation_gap_cosine": 0.5, "validation_knn": 85.0}
    [one, two] = rows([2.0, 1.0], metrics=first)
    record = make("sp", rows=(one, two.model_copy(update={"metrics": then})))
    watching = record.recipe.but(validation=0.1, watch=("gap", "knn", "agreement"))
    told = course(summarise([record.model_copy(update={"recipe": watching})]))
    assert [picture.caption for picture in told] == [
        *("validation top1", "validation kNN", "validation relation gap, less is better")
    ]
    assert "from 0.5 to 0.5" in told[2].alt  # measured after one of the two epochs


def test_norms_of_gradients_have_a_picture_for_each_method(make: Make) -> None:
    held = {"gradient_norm_task": 2.0, "gradient_norm_sp@maps": 0.5}
    sp = rows([2.0, 1.0], metrics=held)
    told = course(summarise([make("none", rows=rows([2.0, 1.0])), make("sp", rows=sp)]))
    assert [each.caption for each in told] == ["loss: task", "sp: norm of each term's gradient"]
    assert "task from 2 to 2; sp@maps from 0.5 to 0.5" in told[1].alt


def test_terms_of_a_later_stage(make: Make) -> None:
    record = make("fsp", rows=rows([2.0, 1.0], term="fsp") + rows([0.5], term="task"))
    told = [picture.alt for picture in course(summarise([record]))]
    assert "fsp from 2 to 1" in told[0]
    assert "fsp from 0.5 to 0.5" in told[1]


@pytest.mark.parametrize("values", [[], [1.0], [0.0, 0.0], [-1.0, 1e9], [3.0, 3.0, 3.0]])
def test_any_course_can_be_drawn(make: Make, values: list[float]) -> None:
    assert len(course(summarise([make("none", rows=rows(values))]))) == (1 if values else 0)


def test_the_teacher_stands_only_where_it_is_alone(make: Make) -> None:
    own = make("teacher", rows=rows([9.0, 8.0]))
    both = course(summarise([own, make("none", rows=rows([2.0, 1.0]))]))
    assert "teacher" not in both[0].alt
    assert "teacher from 9 to 8" in course(summarise([own]))[0].alt
