from relatum.recipes.plan import Arm, Plan
from relatum.recipes.recipe import Recipe

STEPS = Recipe(epochs=20, schedule="steps", milestones=(5, 10))
PLAN = Plan(
    name="a",
    title="An experiment",
    teacher=Arm("teacher", Recipe(epochs=20), learns=False),
    arms=(Arm("none", Recipe(epochs=0)), Arm("sp", STEPS)),
    seeds=(1, 2, 3),
    notes=("so it is",),
)


def test_it_counts_its_runs() -> None:
    assert PLAN.runs == 3 * (1 + 2)


def test_it_moves_to_a_folder() -> None:
    moved = PLAN.at("/data")
    assert {arm.recipe.data_root for arm in (moved.teacher, *moved.arms)} == {"/data"}
    assert PLAN.teacher.recipe.data_root is None


def test_a_scaled_one_says_so_and_keeps_what_is_zero() -> None:
    scaled = PLAN.scaled(0.25)
    assert [arm.recipe.epochs for arm in (scaled.teacher, *scaled.arms)] == [5, 0, 5]
    assert scaled.arms[1].recipe.milestones == (1, 2)
    assert "scale 0.25" in scaled.title
    assert "not comparable" in scaled.notes[-1]
    assert PLAN.scaled(1) is PLAN


def test_even_the_smallest_scale_is_a_valid_plan() -> None:
    scaled = PLAN.scaled(0.001)
    assert [arm.recipe.epochs for arm in (scaled.teacher, *scaled.arms)] == [1, 0, 1]
    assert scaled.arms[1].recipe.schedule_of()(0.0) == 1
