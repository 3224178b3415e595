"""The options that commands share, and how their texts are read."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import torch

    from relatum.recipes.recipe import Recipe

Data = Annotated[
    str, typer.Option("--data", help="A set (relatum list datasets) or a folder of images.")
]
Dataset = Annotated[
    str | None, typer.Argument(help="A set (relatum list datasets) or a folder of images.")
]
DatasetToo = Annotated[str | None, typer.Option("--data", help="The same, as an option.")]
Teacher = Annotated[
    str | None,
    typer.Option(
        help="A run's folder, a weights file, MODEL@FILE (RepDistiller's and mdistiller's"
        " checkpoints too), table:FILE of embeddings, several of these with weights (A,B=2),"
        " or a model to train first. [default: the set's]"
    ),
]
Student = Annotated[str | None, typer.Option(help="The network that learns. [default: the set's]")]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        "--methods",
        help="Methods, joined by commas; '+' joins terms, '=' weighs, '@' names the tap:"
        " sp=3000+my_file:MyLoss@maps=25. [default: those of kd,sp,rrkd,rrd that the pair can"
        " have]",
    ),
]
Baseline = Annotated[bool, typer.Option(help="Also train the student alone, to compare with.")]
Labels = Annotated[bool, typer.Option(help="Use the labels for training.")]
Epochs = Annotated[int | None, typer.Option(help="[default: the set's]")]
Samples = Annotated[int | None, typer.Option(help="Train on so many images only, teachers too.")]
RecipeFile = Annotated[
    Path | None, typer.Option(help="Run this recipe.json again, instead of the options above.")
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
OPTIONS = {"batch_size": "--batch", "dataset": "the argument DATASET (or --data)"}
"""Options that are called otherwise than the field of the recipe that they fill in."""
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


def refuse_beside(context: typer.Context, option: str, *others: str) -> None:
    """Refuse options that another one makes meaningless.

    Raises:
        Fault: one of them was given.
    """
    from relatum.faults import Fault

    for other in others:
        source = context.get_parameter_source(other)
        if source is not None and source.name == "COMMANDLINE":
            named = "the argument DATASET" if other == "dataset" else f"--{other}"
            raise Fault(f"--{option} says it all: {named} has no effect beside it, use --set")


def dataset_of(argument: str | None, option: str | None) -> str | None:
    """The set that was named, by an argument or by an option.

    Raises:
        Fault: they name two.
    """
    from relatum.faults import Fault

    if argument and option and argument != option:
        raise Fault(f"the set is named twice: {argument!r} and --data {option!r}; leave one out")
    return argument or option


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
            found = tuple(int(each) for each in seeds.split(","))
        except ValueError:
            raise Fault(
                f"--seeds wants a number or a list such as 0,1,2, got {seeds!r}; one is --seed"
            ) from None
        if "," not in seeds:
            if not 1 <= found[0] <= 1000:
                raise Fault(f"--seeds {seeds}: wanted 1 to 1000 seeds, or a list such as 0,1,2")
            found = tuple(range(found[0]))
    if len(set(found)) < len(found) or any(each < 0 for each in found):
        raise Fault(f"seeds are different whole numbers from 0 on, got {seeds or seed}")
    return found


def changes_of(
    pairs: list[str] | None,
    elsewhere: Collection[str] = (),
    given: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """The fields that ``--set key=value`` changes; values are JSON or plain text.

    Args:
        pairs: the texts.
        elsewhere: fields that have an option of their own, which would win silently; a mapping
            says which, where it is not of the same name.
        given: fields that an option may have filled in, and with what; ``None`` and ``False`` where
            it has not.

    Raises:
        Fault: a text has no ``=``, a field has an option of its own, or one is given twice.
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
        if given is not None and given.get(name) not in (None, False):
            option = OPTIONS.get(name, f"--{name.replace('_', '-')}")
            raise Fault(f"--set {name}=… and {option} give one field twice; leave one out")
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
