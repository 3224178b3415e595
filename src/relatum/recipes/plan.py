"""What an experiment consists of, as data: arms that are compared, and what was published."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from relatum.data import ImageSet
from relatum.distiller import Distiller
from relatum.recipes.recipe import Recipe

Alteration = Callable[[Distiller, ImageSet], None]
"""Done to a distiller before it trains, given the training images: how a reproduction plants a
paper's faults, which are no options of the library."""


def name_of(alter: Alteration | None) -> str:
    """What a record calls an alteration; empty for none."""
    return "" if alter is None else alter.__name__.strip("_").replace("_", " ")


@dataclass(frozen=True)
class Arm:
    """One row of a table: a recipe under a name, run once for every seed.

    Attributes:
        label: what the table calls it.
        recipe: what is run.
        learns: whether the seed's teacher is put into the recipe. A student that does not learn
            from it is compared with it all the same; only a teacher itself has none.
        settings: changes of the recipe to choose from, on the validation part; none to leave
            it as it is.
        alter: done to the distiller.
    """

    label: str
    recipe: Recipe
    learns: bool = True
    settings: tuple[Mapping[str, Any], ...] = ()
    alter: Alteration | None = None


@dataclass(frozen=True)
class Claim:
    """Something that a paper says, as a comparison of two arms.

    Attributes:
        text: the claim, in words.
        arm: the one that should be better.
        than: the other one.
        source: where it is said.
    """

    text: str
    arm: str
    than: str
    source: str


@dataclass(frozen=True)
class Plan:
    """An experiment: a teacher for each seed, and arms that learn from it.

    Attributes:
        name: what it is called on the command line.
        title: in words.
        teacher: the arm whose students teach the others.
        arms: what is compared.
        seeds: each is a whole repetition, teacher included.
        metric: what arms are compared by, as records call it.
        published: what the paper or its code printed, by label.
        claims: what the paper says of it.
        notes: what a reader must know, in sentences.
        search_epochs: how long each setting of an arm is tried.
    """

    name: str
    title: str
    teacher: Arm
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    metric: str = "probe"
    published: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()
    search_epochs: int = 5

    @property
    def runs(self) -> int:
        """How many runs it is, the searches not counted."""
        return len(self.seeds) * (1 + len(self.arms))

    def at(self, data_root: str) -> "Plan":
        """The same, with the set's files in a folder."""

        def there(arm: Arm) -> Arm:
            return replace(arm, recipe=arm.recipe.but(data_root=data_root))

        return replace(self, teacher=there(self.teacher), arms=tuple(map(there, self.arms)))

    def scaled(self, scale: float) -> "Plan":
        """The same with fewer epochs; says so in its title and notes."""
        if scale == 1:
            return self

        def shorter(arm: Arm) -> Arm:
            return replace(arm, recipe=arm.recipe.scaled(scale))

        note = f"at scale {scale:g}: epochs are shortened, the numbers are not comparable"
        return replace(
            self,
            title=f"{self.title} (scale {scale:g})",
            teacher=shorter(self.teacher),
            arms=tuple(map(shorter, self.arms)),
            notes=(*self.notes, note),
            search_epochs=max(1, round(self.search_epochs * scale)),
        )
