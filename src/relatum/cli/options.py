"""The options that commands share, and how their texts are read."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import torch

    from relatum.bench import Cell, Failure
    from relatum.checkpoint import Stop
    from relatum.recipes.recipe import Recipe
    from relatum.record import Record
    from relatum.run import Display

Data = Annotated[
    str, typer.Option("--data", help="A set (relatum list datasets) or a folder of images.")
]
DataRoot = Annotated[
    Path | None, typer.Option(help="Where the set's files are. [env: RELATUM_DATA]")
]
Download = Annotated[bool, typer.Option("--download", help="Fetch the set if it is missing.")]
SkipBroken = Annotated[
    bool,
    typer.Option("--skip-broken", help="Leave out images that cannot be read, and count them."),
]
Out = Annotated[Path | None, typer.Option(help="Folder for the results. [default: runs/…]")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what is in the folder.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is in the folder.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps … or auto.")]
Speed = Annotated[
    str | None,
    typer.Option(
        help="exact: the same bits again; fast: bfloat16 where the hardware has it, a folded"
        " teacher; max: compiled too, a minute to begin. [default: exact]"
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(help="auto, float32 or bfloat16, of the networks. [default: auto, by the speed]"),
]
Batch = Annotated[
    int | None,
    typer.Option("--batch", help="Samples a step, of all processes together. [default: the set's]"),
]
Microbatch = Annotated[
    int | None,
    typer.Option(help="Samples at a time, on each process, where memory holds no more."),
]
SyncBatchnorm = Annotated[
    bool,
    typer.Option(
        "--sync-batchnorm", help="Let BatchNorm see the samples of all processes (GPUs alone)."
    ),
]
PATIENCE = 300.0
Patience = Annotated[
    float,
    typer.Option(help="Seconds after which a process that does not answer is given up."),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Folder for what the teacher says of every image: what is missing is computed once,"
        " and training then runs without it (relatum cache).",
    ),
]
Balance = Annotated[
    str | None,
    typer.Option(
        "--balance",
        help="Shares of the pull at the student with which the terms begin: 'equal', or"
        " ce=0.5,sp=0.5; their weights are found before training.",
    ),
]
Seeds = Annotated[
    str | None, typer.Option(help="How many seeds, or which: 3 means 0,1,2. [default: 3]")
]
Seed = Annotated[int | None, typer.Option(help="One seed alone.")]
Scale = Annotated[
    float, typer.Option(help="Share of the epochs, for a first look: 0.1 is a tenth.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a field of the recipe: key=value. May be repeated."),
]


def device_of(text: str) -> "torch.device":
    """The device that a text names; ``auto`` is the GPU where there is one.

    Raises:
        Fault: there is no such device here.
    """
    import torch

    from relatum.faults import Fault

    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    if text.startswith("cuda"):
        text = _own_gpu(text)
    try:
        device = torch.device(text)
        torch.zeros(1, device=device).item()  # 'meta' makes tensors, and there is nothing in them
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        line = (str(error) or "not available").splitlines()[0]
        raise Fault(f"no device {text!r} here ({line}); try --device cpu") from error
    return device


def _own_gpu(text: str) -> str:
    """The GPU of this process, where torchrun started several on a machine."""
    import torch

    from relatum import launch
    from relatum.faults import Fault

    if not launch.started_together():
        return text
    if text != "cuda":
        raise Fault(f"every process takes a GPU of its own: give --device cuda, not {text}")
    if (place := launch.local_rank()) >= torch.cuda.device_count():
        raise Fault(
            f"process {place} (from 0) of this machine finds only {torch.cuda.device_count()} GPUs;"
            " start at most as many processes on it (--nproc-per-node), or give --device cpu"
        )
    return f"cuda:{place}"


@dataclass(frozen=True)
class Company:
    """The processes that a command trains with.

    Attributes:
        size: how many.
        first: whether this is the one that speaks.
        again: whether they were started again, and go on with what is there.
        stop: whether somebody asked them to stop.
    """

    size: int
    first: bool
    again: bool
    stop: "Stop"

    def claims(self, resume: bool, overwrite: bool) -> tuple[bool, bool]:
        """The same two, once started again: what is there is gone on with, and not deleted."""
        return resume or self.again, overwrite and not self.again

    def announce(self, display: "Display", recipes: "Iterable[Recipe]") -> None:
        """Say what a batch is on each of them."""
        from relatum import world

        for size in sorted({each.batch_size for each in recipes}):
            if self.size > 1:
                each = " or ".join(str(share) for share in sorted(set(world.shares(size))))
                display.note(f"{self.size} processes: a batch of {size} samples is {each} on each")


@contextmanager
def company(device: "torch.device", patience: float) -> "Iterator[Company]":
    """Train with the processes that torchrun started beside this one, if it did."""
    from relatum import launch, together, world
    from relatum.checkpoint import Stop, stop_on_signals

    stop = Stop()
    hearing = ExitStack()
    if launch.started_together():
        hearing.enter_context(stop_on_signals(stop))
    with launch.joined(device, patience, lambda: stop.signum):
        again = together.most(int(launch.started_again()))  # machines count on their own
        yield Company(world.size(), together.first(), bool(again), stop)
    hearing.close()  # not after an error: a process that torchrun ends still says what happened


def train(
    cells: "list[Cell]",
    folder: Path,
    company: Company,
    device: "torch.device",
    *,
    resume: bool,
    overwrite: bool,
    download: bool,
) -> "tuple[list[Record], list[Failure]]":
    """Rehearse cells, and run them one after the other; what a crash left is gone on with."""
    from relatum.bench.experiment import claim, run_all
    from relatum.bench.rehearsal import rehearse
    from relatum.checkpoint import stop_on_signals
    from relatum.cli.display import shown
    from relatum.faults import Fault
    from relatum.record import NAME
    from relatum.together import all_of, by_first

    resume, overwrite = company.claims(resume, overwrite)
    by_first(lambda: claim(folder, resume or overwrite, False))
    if len(set(all_of(tuple(sorted(map(str, folder.rglob(NAME))))))) > 1:
        raise Fault(
            f"{folder} is not the same for all processes; start them in one folder, on storage that"
            " all machines share"
        )
    rehearse(cells, folder, device=device, download=download, afresh=overwrite)
    by_first(lambda: claim(folder, resume, overwrite))
    with stop_on_signals(company.stop) as stop, shown(len(cells)) as display:
        company.announce(display, (cell.recipe for cell in cells))
        return run_all(cells, folder, device=device, download=download, stop=stop, display=display)


def refuse_beside(context: typer.Context, option: str, *others: str) -> None:
    """Refuse options that another one makes meaningless.

    Raises:
        Fault: one of them was given.
    """
    from relatum.faults import Fault

    for other in others:
        source = context.get_parameter_source(other)
        if source is not None and source.name == "COMMANDLINE":
            raise Fault(f"--{option} says it all: --{other} has no effect beside it, use --set")


def seeds_of(seeds: str | None, seed: int | None, usual: tuple[int, ...]) -> tuple[int, ...]:
    """The seeds that two options mean: ``3`` means 0, 1, 2; ``7,8`` means those.

    Raises:
        Fault: both are given, or the text is no list of whole numbers.
    """
    from relatum.faults import Fault

    if seed is not None and seeds is not None:
        raise Fault("give --seed or --seeds, not both")
    if seed is not None:
        found: tuple[int, ...] = (seed,)
    elif seeds is None:
        found = usual
    else:
        try:
            found = tuple(int(each) for each in seeds.removesuffix(",").split(","))
        except ValueError:
            raise Fault(f"--seeds wants a number or a list such as 0,1,2, got {seeds!r}") from None
        if "," not in seeds:
            if not 1 <= found[0] <= 1000:
                raise Fault(f"--seeds {seeds}: wanted 1 to 1000 seeds, or a list such as 0,1,2")
            found = tuple(range(found[0]))
    if len(set(found)) < len(found) or any(each < 0 for each in found):
        raise Fault(f"seeds are different whole numbers from 0 on, got {seeds or seed}")
    return found


def changes_of(pairs: list[str] | None, elsewhere: Collection[str] = ()) -> dict[str, Any]:
    """The fields that ``--set key=value`` changes; values are JSON or plain text.

    Args:
        pairs: the texts.
        elsewhere: fields that have an option of their own, which would win silently; a mapping
            says which, where it is not of the same name.

    Raises:
        Fault: a text has no ``=``, or a field has an option of its own.
    """
    from relatum.faults import Fault
    from relatum.recipes.recipe import Recipe

    changes: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals:
            raise Fault(f"--set wants key=value, got {pair!r}")
        name = name.strip()
        if name in elsewhere:
            option = elsewhere[name] if isinstance(elsewhere, Mapping) else f"--{name}"
            raise Fault(f"--set {name}=… has no effect here: use {option}")
        try:
            value: Any = json.loads(text)
        except json.JSONDecodeError:
            value = {"none": None, "None": None}.get(text, text)
        many = "tuple" in str(Recipe.model_fields[name].annotation) if _known(name) else False
        if many and not isinstance(value, list):
            value = [each.strip() for each in str(value).split(",") if each.strip()]
        changes[name] = value
    return changes


def _known(name: str) -> bool:
    from relatum.recipes.recipe import Recipe

    return name in Recipe.model_fields


def changed(recipe: "Recipe", **options: Any) -> "Recipe":
    """A recipe with those options that were given."""
    return recipe.but(**{name: value for name, value in options.items() if value is not None})
