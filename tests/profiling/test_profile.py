"""The numbers and the table that a watch and a trace become."""

import json
import re

import pytest

from relatum.profiling import Watch
from relatum.profiling.profile import COMMAND, TRAINING, Profile, profile, table
from relatum.profiling.regions import FIRST, START, TRACED, USUAL
from relatum.profiling.trace import Operator, Traced


def watch(usual: int = 8, traced: int = 4) -> Watch:
    """12 seconds, of which 8 usual steps of half a second took 4."""
    found = Watch(steps=1)
    found.whole = 12.0
    found.around[START] = {"rest": 1.5, "teacher": 0.5}
    found.around[USUAL] = {"rest": 0.25, "evaluation": 2.0, "checkpoint": 0.5, "teacher": 0.25}
    found.around[TRACED] = {"profiling": 1.0}
    found.inside[FIRST] = {"step": 1.0}
    found.steps[FIRST] = 2
    if traced:
        found.inside[TRACED] = {"data": 0.5, "backward": 0.5}
        found.steps[TRACED], found.calls[TRACED] = traced, {"data": traced, "backward": traced}
    if usual:
        found.inside[USUAL] = {
            "step": 0.5,
            "losses/sp": 0.5,
            "backward": 1.5,
            "losses": 0.25,
            "data": 0.5,
            "update": 0.25,
            "wait": 0.25,
            "losses/ce": 0.25,
        }
        found.calls[USUAL] = dict.fromkeys(found.inside[USUAL], usual) | {"wait": 1, "backward": 16}
        found.steps[USUAL], found.samples[USUAL] = usual, 64 * usual
    return found


TRACE = Traced(
    steps=3,
    operators=(Operator("void cutlass::Kernel<" + "x" * 90, 100.0, 0.8, 2.0),),
    device={"backward": 150.0, "losses/sp": 20.0, "losses": 1.0, "wait": 4.0},
    busy=172.0,
)


def test_the_parts_of_a_run_add_up_to_it() -> None:
    found = profile(watch(), None, before=3.0)
    assert {part.name: part.time for part in found.run} == {
        COMMAND: 3.0,
        "start-up": 2.0,
        TRAINING: 6.0,
        "evaluation": 2.0,
        "checkpoint": 0.5,
        "profiling": 1.0,
        "rest": 0.5,
    }
    assert found.seconds == sum(part.time for part in found.run) == 15.0
    assert sum(part.share for part in found.run) == pytest.approx(1)


def test_the_parts_of_a_step_add_up_to_it() -> None:
    found = profile(watch(), None)
    parts = {part.name: part for part in found.step}
    order = ["data", "losses", "losses/sp", "losses/ce", "backward", "update", "wait", "step"]
    assert list(parts) == order
    assert parts["losses"].time == 125.0, "its terms are parts of it"
    assert found.share("losses") == parts["losses"].share == 0.25
    alone = [part for part in found.step if "/" not in part.name]
    assert sum(part.time for part in alone) == found.milliseconds == 500.0
    assert (parts["backward"].calls, parts["wait"].calls) == (2.0, 1 / 8)
    assert (found.steps, found.timed, found.first) == (14, 8, 1.0)
    assert found.images == 128.0
    assert not found.notes


def test_a_device_has_times_of_its_own() -> None:
    found = profile(watch(), TRACE, memory=3 * 2**20)
    device = {part.name: part.device for part in found.step}
    assert device["losses"] == 21.0
    assert device["losses/sp"] == 20.0
    assert device["data"] == 0.0
    assert found.idle == pytest.approx(1 - 172 / 500)
    text = table(found, "title")
    assert "the device waited 66% of a step" in text
    assert "the most memory held: 3 MiB" in text
    assert re.search(r"backward +187\.500 +38% +2 +150\.000", text)
    assert re.search(r"all of it +500\.000 +100% +172\.000", text)


def test_without_a_device_none_is_spoken_of() -> None:
    found = profile(watch(), Traced(3, TRACE.operators, {}, 0.0))
    assert found.idle is None
    assert "device" not in table(found, "title").replace("read back from the device", "")


@pytest.mark.parametrize("trace", [None, TRACE])
def test_the_table_fits_a_terminal_and_shows_what_there_is(trace: Traced | None) -> None:
    found = profile(watch(), trace, before=3.0)
    text = table(found, "a title", ["say this " * 12])
    assert max(map(len, text.splitlines())) <= 80
    for part in (*found.run, *found.step):
        name = {"step": "rest"}.get(part.name, part.name.rpartition("/")[2])
        number = f"{part.time:.2f}" if part in found.run else f"{part.time:.3f}"
        assert re.search(rf"^ +{re.escape(name)} +{re.escape(number)} ", text, re.M), part
    assert text.startswith("a title\n")
    assert "14 steps; the first ones 1.00 s" in text
    assert "128 images a second" in text
    assert ("costliest operators of 3 steps" in text) == (trace is not None)
    assert "advice: say this" in text


@pytest.mark.parametrize(
    ("usual", "traced", "timed", "why"),
    [(0, 4, 4, "traced, which slows them"), (0, 0, 2, "the run's first, which are slow")],
)
def test_a_short_run_shows_what_it_has_and_says_so(
    usual: int, traced: int, timed: int, why: str
) -> None:
    found = profile(watch(usual, traced), None)
    assert found.timed == timed
    assert why in found.notes[0]
    assert "see the note" in table(found, "title")


def test_a_run_without_steps_has_no_step() -> None:
    books = Watch(steps=1)
    books.end()
    found = profile(books, None)
    text = table(found, "title")
    assert found.step == ()
    assert "no step was taken" in text
    assert "one step" not in text


def test_a_step_in_one_piece_is_not_taken_for_one_that_costs_nothing() -> None:
    books = watch()
    books.inside[USUAL] = {"data": 0.5, "replay": 3.0, "backward": 0.25, "step": 0.25}
    books.calls[USUAL] = {"data": 8, "replay": 7, "backward": 1, "step": 8}  # a short last batch
    found = profile(books, None)
    assert "runs as one piece" in found.notes[0]
    assert [part.name for part in found.step] == ["data", "backward", "replay", "step"]
    assert found.share("replay") == 0.75


def test_its_numbers_survive_json() -> None:
    found = profile(watch(), TRACE, before=3.0, memory=5)
    plain = json.loads(json.dumps(found.plain()))
    assert plain["milliseconds"] == 500.0
    assert plain["step"][0] == {"name": "data", "time": 62.5, "share": 0.125, "calls": 1.0} | {
        "device": 0.0
    }
    assert set(plain) == set(Profile.__dataclass_fields__)
