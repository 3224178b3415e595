"""Train what a command asks for: with the processes beside this one, rehearsed, run after run."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from relatum.bench import Cell, Failure
    from relatum.checkpoint import Stop
    from relatum.recipes.recipe import Recipe
    from relatum.record import Record
    from relatum.run import Display


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

    def check_place(self, folder: Path, resume: bool, overwrite: bool) -> None:
        """Refuse a folder that is taken, before anything is loaded."""
        from relatum.bench.experiment import check_place
        from relatum.together import by_first

        claims = self.claims(resume, overwrite)
        by_first(lambda: check_place(folder, *claims))

    def announce(self, display: "Display", recipes: "Iterable[Recipe]") -> None:
        """Say what a batch is on each of them."""
        from relatum import world

        for size in sorted({each.batch_size for each in recipes}):
            if self.size > 1:
                each = " or ".join(str(share) for share in sorted(set(world.shares(size))))
                display.note(f"{self.size} processes: a batch of {size} samples is {each} on each")


@contextmanager
def company(device: "torch.device", patience: float) -> Iterator[Company]:
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
    from relatum.bench.experiment import check_place, claim, run_all
    from relatum.bench.rehearsal import rehearse
    from relatum.checkpoint import stop_on_signals
    from relatum.cli.display import shown
    from relatum.faults import Fault
    from relatum.record import NAME
    from relatum.together import all_of, by_first

    resume, overwrite = company.claims(resume, overwrite)
    by_first(lambda: check_place(folder, resume, overwrite))
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
