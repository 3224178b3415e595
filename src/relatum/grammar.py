"""The names of methods: ``+`` joins methods and losses, ``=`` weighs them, ``@`` names the tap.

So ``sp=3000+my_file:Mine@maps=25`` is a method; ``&`` joins several taps of one loss, brackets
change what a loss is built with (``kd(temperature=2)``), and cross-entropy with the labels, at
weight 1 wherever there are labels, is called ``ce``.
"""

import inspect
from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from relatum import method_names
from relatum.imports import from_path
from relatum.method_names import Part as Part
from relatum.methods import METHODS, TASK, Setting, Stage, task
from relatum.methods.each_teacher import each_teacher
from relatum.methods.options import check_options, options_of
from relatum.objective import Objective, Term
from relatum.schedules import weighed
from relatum.several import EMBEDDING
from relatum.types import Fault, first_line


def parse(text: str) -> tuple[Part, ...]:
    """Read a method's name.

    Raises:
        Fault: it cannot be read, or names a method that does not exist.

    Example:
        >>> for part in parse("sp=3000+kd(temperature=2)"):
        ...     print(part)
        Part(name='sp', on=None, weight=3000.0, options=())
        Part(name='kd', on=None, weight=None, options=(('temperature', 2),))
    """
    parts = method_names.parse(text, _families())
    for part in parts:
        if method := METHODS.get(part.name):
            check_options(part.name, method.options, part.options, method.elsewhere)
    return parts


def split(text: str) -> list[str]:
    """The methods of a list ``kd,sp,rrkd``.

    Raises:
        Fault: one of them is empty, twice there, or unknown.
    """
    names = method_names.split(text, _families())
    for name in names:
        parse(name)
    return names


def _families() -> dict[str, str]:
    return {name: method.family for name, method in METHODS.items()}


def stages(text: str, setting: Setting) -> tuple[Stage, ...]:
    """What a method's name means for a pair of networks on a set.

    A name alone is the method as its paper has it. Joined or weighed, every method adds its
    terms: the weight is that of its first one, cross-entropy has weight 1 unless ``ce=`` says
    otherwise, and ``kd`` without a weight has 1.

    Raises:
        Fault: the method cannot be had here; says why.
    """
    parts = parse(text)
    bare = parts[0]
    if len(parts) == 1 and bare.weight is None and ":" not in bare.name:
        return _of_all(bare, setting)
    if any(part.name == TASK for part in parts) and not setting.supervised:
        raise Fault(f"method {text!r}: cross-entropy needs labels and a student with logits")
    weights = [part.weight for part in parts if part.name == TASK]
    learnt = task(setting, 1.0 if not weights or weights[0] is None else weights[0])
    earlier: list[Stage] = []
    terms: dict[str, Term] = {}
    for part in parts:
        if part.name != TASK:
            before, own = _joined(part, setting)
            earlier.extend(before)
            for name, term in own.items():
                terms[_free(name, part, terms)] = term
    return (*earlier, Stage(Objective(**learnt, **terms)))


def adopts(text: str) -> str | None:
    """The method in a name that puts another network in the student's place, if there is one.

    Raises:
        Fault: there are two of them.
    """
    found = [part.name for part in parse(text) if (m := METHODS.get(part.name)) and m.adopt]
    if len(found) > 1:
        raise Fault(f"method {text!r}: {' and '.join(found)} both change the student's network")
    return found[0] if found else None


def _joined(part: Part, setting: Setting) -> tuple[tuple[Stage, ...], dict[str, Term]]:
    """The stages before a method's last one, and the terms of that, weighed."""
    if setting.shares:
        before, whole = _joined(part, replace(setting, shares=()))
        if not _on_embedding(whole):  # stages may have modules in common
            return before, whole

        def terms_of(some: Setting) -> dict[str, Term]:
            return _joined(part, replace(some, shares=()))[1]

        return before, each_teacher(part.name, setting, terms_of)
    if ":" in part.name:
        name, term = _custom(part, setting)
        return (), {name: term}
    *earlier, last = _built(part, setting)
    weight = 1.0 if part.name == "kd" and part.weight is None else part.weight
    terms = {name: term for name, term in last.objective.terms.items() if name != TASK}
    if weight is not None:
        if not terms:
            raise Fault(f"{part.name} only initialises the student, it takes no weight")
        first = next(iter(terms))
        terms[first] = replace(terms[first], weight=weighed(terms[first].weight, weight))
    return tuple(earlier), terms


def _of_all(part: Part, setting: Setting) -> tuple[Stage, ...]:
    """A method's stages; where several teachers teach, with a term for each that needs it."""
    built = _built(part, setting)
    if not setting.shares or not any(_on_embedding(each.objective.terms) for each in built):
        return built  # as it is: its stages may have modules in common

    def of_stage(place: int) -> Objective:
        def terms_of(some: Setting) -> Mapping[str, Term]:
            return _built(part, some)[place].objective.terms

        return Objective(**each_teacher(part.name, setting, terms_of))

    return tuple(replace(stage, objective=of_stage(place)) for place, stage in enumerate(built))


def _on_embedding(terms: Mapping[str, Term]) -> bool:
    """Whether one of them reads the embedding of all teachers."""
    return any(term.tap("teacher") == EMBEDDING for term in terms.values())


def _built(part: Part, setting: Setting) -> tuple[Stage, ...]:
    """A method's stages, its loss built with the options that are asked for."""
    return METHODS[part.name](replace(setting, on=part.on, options=part.options))


def _free(name: str, part: Part, taken: dict[str, Term]) -> str:
    if name in taken and isinstance(part.on, str):
        name = f"{name}@{part.on}"
    if name in taken:
        raise Fault(f"the term {name!r} is there twice; name another tap for one of them")
    return name


def check_own(text: str) -> None:
    """Import the users' own losses in a method's name, to see early that they are there.

    Raises:
        Fault: one cannot be imported, or is no module.
    """
    for part in parse(text):
        if ":" in part.name:
            own_loss(part.name)


def own_loss(name: str) -> type[nn.Module]:
    """A user's own loss by the path of its class, imported.

    Raises:
        Fault: it cannot be imported, or is no module.
    """
    try:
        made = from_path(name)
    except Fault:
        raise
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {first_line(error)}"
        raise Fault(f"{name} cannot be imported: {what}") from error
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise Fault(f"{name} is no loss: wanted a class derived from torch.nn.Module")
    return made


def _custom(part: Part, setting: Setting) -> tuple[str, Term]:
    """A user's own loss, built with the widths that its constructor asks for."""
    made = own_loss(part.name)
    wants = inspect.signature(made).parameters
    on = part.on or "embedding"
    own = replace(setting, on=on, options=part.options)
    own.tap("embedding")
    have: dict[str, object] = {"samples": setting.samples, "classes": setting.classes}
    if {"student_dim", "teacher_dim"} & set(wants):
        have["student_dim"], have["teacher_dim"] = own.widths(on)
    check_options(part.name, options_of(made), part.options)
    missing = [
        name
        for name, each in wants.items()
        if each.default is each.empty
        and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        and name not in have
    ]
    if missing:
        raise Fault(
            f"{part.name} is built with {', '.join(missing)}, which relatum does not know;"
            f" give a default (it knows {', '.join((*have, 'student_dim', 'teacher_dim')[:4])})"
        )
    loss = own.build(made, **{name: value for name, value in have.items() if name in wants})
    weight = 1.0 if part.weight is None else part.weight
    term = Term(loss, on=on, weight=weight)
    if setting.classes is None and Objective(term=term).needs("labels"):
        raise Fault(f"{part.name} needs labels, and there are none to use here")
    return made.__name__, term
