"""At how many pixels each network of a run sees the images, and at how many they are kept."""

from collections.abc import Iterable, Iterator

from relatum.datasets import DATASETS
from relatum.datasets.own import SIZE
from relatum.models.foreign import PRETRAINED, built_for, is_foreign, published
from relatum.recipes.recipe import Recipe
from relatum.run.trained import input_from, on_disk
from relatum.spelling import own_set
from relatum.taps import Tapped
from relatum.teacher_names import teachers_there
from relatum.types import Fault
from relatum.weights import about_weights


def own_size(name: str) -> int | None:
    """The size that a network was published for, or is built for; ``None`` where any will do.

    Args:
        name: of a network that is begun anew, or with published weights.

    Raises:
        Fault: it was published for images that are no squares, and takes no others.
    """
    if not is_foreign(name):
        return None
    if name.endswith(PRETRAINED):
        size = published(name.removesuffix(PRETRAINED))[1].size
        if size is not None and size[0] != size[1] and name.startswith("hf/"):
            raise Fault(
                f"{name} is built for images of {size[0]}x{size[1]} pixels, and a run shows its"
                " networks squares; in Python Tapped(network, taps, Input(size=…)) takes it"
            )
        return None if size is None else size[0]
    return built_for(name)


def student_size(recipe: Recipe) -> int | None:
    """At how many pixels a student sees the images; ``None`` for those of the set.

    That of the recipe; else, with images of the user's own, the student's own. The named sets
    are seen at their size by every network that begins on them.
    """
    if recipe.student_size is not None or not _of_own_images(recipe):
        return recipe.student_size
    return own_size(recipe.student)


def teacher_size(recipe: Recipe) -> int | None:
    """At how many pixels a teacher is made to see the images; ``None`` where it knows."""
    if recipe.teacher_size is not None or not _of_own_images(recipe) or recipe.teacher is None:
        return recipe.teacher_size
    named = teachers_there(recipe.teacher)
    return _size_of_teacher(named[0].text) if len(named) == 1 else None


def kept_at(recipe: Recipe) -> int | None:
    """At how many pixels the images of a run are kept: at the largest that a network wants.

    ``None`` for the named sets, and where the recipe's ``image_size`` says it or no network does.
    """
    if recipe.image_size is not None or not _of_own_images(recipe):
        return recipe.image_size
    wanted = [student_size(recipe), recipe.teacher_size]
    if recipe.teacher is not None and recipe.teacher_size is None:
        for each in teachers_there(recipe.teacher):
            wanted.append(None if each.table is not None else _size_of_teacher(each.text))
    return max((each for each in wanted if each is not None), default=None)


def settled(recipes: list[Recipe]) -> list[Recipe]:
    """Runs that are compared with each other, all with images of one size."""
    sizes = [kept_at(each) for each in recipes]
    size = max((each for each in sizes if each is not None), default=SIZE)
    return [
        each.but(image_size=size) if each.image_size is None and _of_own_images(each) else each
        for each in recipes
    ]


def enlarged_for_teacher(recipe: Recipe, kept: int | None) -> str | None:
    """That a student sees larger images than it needs, for its teacher's sake, in a sentence.

    Args:
        recipe: the student's, as it was asked for.
        kept: at how many pixels the images are kept in the end.
    """
    own = recipe.image_size is None and student_size(recipe) is None and _of_own_images(recipe)
    if not own or kept is None or kept <= SIZE:
        return None
    return (
        f"images are kept at {kept} pixels, because the teacher wants it, and the student sees them"
        f" so; --set student_size={SIZE} makes it cheaper"
    )


def enlarged(
    student: Tapped, teachers: Iterable[Tapped], shape: tuple[int, int, int]
) -> Iterator[str]:
    """Which networks see the images larger than they are kept, in sentences.

    A network that is built for one size enlarges what is smaller, and nobody would know.

    Args:
        student: the student.
        teachers: the networks that teach it.
        shape: channels, height and width of the images.
    """
    height, width = shape[1:]
    teachers = list(teachers)
    alone = "student" if teachers else "network"
    seen = dict.fromkeys(
        (role, each.input.size)
        for role, each in [(alone, student), *(("teacher", each) for each in teachers)]
    )
    for role, size in seen:
        if size is not None and size[0] * size[1] > height * width:
            sees = f"the {role} sees images of {size[0]}x{size[1]} pixels"
            yield f"{sees}, enlarged from {height}x{width}"


def _of_own_images(recipe: Recipe) -> bool:
    return own_set(recipe.dataset, DATASETS) is not None


def _size_of_teacher(text: str) -> int | None:
    """What a trained teacher was trained at, as far as its file or its kind says so."""
    try:
        found = on_disk(text)
        if found is None:
            return own_size(text)
    except Fault:  # which will be said when it is loaded
        return None
    name, path = found
    about = about_weights(path) if path.suffix == ".safetensors" else {}
    input = input_from(about, path)
    if input is not None and input.size is not None:
        return input.size[0]
    return None if about else own_size(name)
