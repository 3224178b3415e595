"""Does speed cost accuracy? Students at ``exact``, at ``fast``, and with a few fixed views.

    python benchmarks/speed_accuracy.py --mnist FOLDER --cifar FOLDER --out FOLDER

MNIST: the teacher mnist-mlp-1200 and the student mnist-mlp-32 on 20,000 images, 6 epochs, no
augmentation; KD, RRKD and RRD. CIFAR-100 at a reduced scale: resnet14 and resnet8 on 4,000 images,
16 epochs with random crops and flips; SP and RRD. One teacher each, trained at ``exact``; three
seeds.

Compared with ``exact`` seed by seed: ``fast``; on CIFAR, where each epoch shows an image as it
never was before, ``exact`` with 1, 4 and 8 views of each image that come again and again; and what
they are for: ``fast`` with what the teacher said of 4 views kept in a cache. On MNIST there is
nothing to fix, and the cache is that of the images. Every run lies in --out and is not done again.
The numbers are last epochs on the whole test set.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from machine import machine

from relatum import Fault, Recipe
from relatum.report.spread import Spread, difference
from relatum.run import run

RESULT = Path(__file__).parent / "results" / "speed_accuracy.json"
METHODS = {"mnist": ("kd", "rrkd", "rrd"), "cifar100": ("sp", "rrd")}
SEEDS = (0, 1, 2)
MEASURES = ("top1", "gap_cosine")


def teachers(mnist: Path, cifar: Path) -> dict[str, Recipe]:
    """One for each set."""
    return {
        "mnist": Recipe(
            dataset="mnist",
            data_root=str(mnist),
            samples=20_000,
            student="mnist-mlp-1200",
            epochs=6,
            batch_size=128,
            learning_rate=0.1,
            weight_decay=0.0,
        ),
        "cifar100": Recipe(
            dataset="cifar100",
            data_root=str(cifar),
            samples=4_000,
            student="resnet14",
            epochs=16,
            batch_size=64,
            learning_rate=0.05,
            augment=("crop", "flip"),
        ),
    }


def students(teacher: Recipe, folder: Path, cache: Path) -> Iterator[tuple[str, Recipe]]:
    """Every way of training a student, by name; the first is what others are compared with."""
    name = "mnist-mlp-32" if teacher.dataset == "mnist" else "resnet8"
    base = teacher.but(student=name, teacher=str(folder))
    if teacher.dataset == "mnist":
        base = base.but(dropout=0.0, learning_rate=0.02)
    yield "exact", base
    yield "fast", base.but(speed="fast")
    views = 4 if base.augment else None
    for number in (1, views, 8) if base.augment else ():
        yield f"exact, {number} view{'s' * (number != 1)}", base.but(views=number)
    kept = base.but(speed="fast", views=views, cache=str(cache))
    yield "fast, cached" + (f", {views} views" if views else ""), kept


def main() -> int:
    """Run what is missing, compare, write."""
    asked = _arguments()
    found: dict[str, Any] = {"seeds": len(SEEDS), "sets": {}}
    try:
        for dataset, recipe in teachers(asked.mnist, asked.cifar).items():
            folder = asked.out / dataset / "teacher"
            top1 = run(recipe, folder, label="teacher", resume=True).metrics["top1"]
            ways = dict(students(recipe, folder, asked.out / dataset / "cache"))
            found["sets"][dataset] = {
                "teacher_top1": top1,
                "recipe": recipe.model_dump(exclude={"data_root"}),
                "methods": {each: _method(each, ways, folder.parent) for each in METHODS[dataset]},
            }
    except Fault as fault:
        print(fault, file=sys.stderr)
        return 2
    print(table(found))
    found["machine"] = machine()
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mnist", type=Path, required=True, help="the folder that MNIST is in")
    parser.add_argument("--cifar", type=Path, required=True, help="and that of CIFAR-100")
    parser.add_argument("--out", type=Path, required=True, help="for the runs")
    return parser.parse_args()


def _method(method: str, ways: dict[str, Recipe], out: Path) -> dict[str, Any]:
    """Each way's numbers, and how far they lie from those of the first."""
    numbers: dict[str, dict[str, dict[int, float]]] = {}
    for way, recipe in ways.items():
        place = out / method / way.replace(", ", "-").replace(" ", "-")
        for seed in SEEDS:
            record = run(recipe.but(method=method, seed=seed), place / f"seed-{seed}", resume=True)
            for measure in MEASURES:
                numbers.setdefault(way, {}).setdefault(measure, {})[seed] = record.metrics[measure]
            print(f"{method}, {way}, seed {seed}: {record.metrics['top1']:.2f} %", flush=True)
    exact = numbers["exact"]
    return {way: _compared(each, exact, way == "exact") for way, each in numbers.items()}


def _compared(
    found: dict[str, dict[int, float]], exact: dict[str, dict[int, float]], itself: bool
) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for measure, values in found.items():
        spread = Spread.of(list(values.values()))
        told[measure] = {"mean": spread.mean, "std": spread.std, "values": spread.values}
        if not itself:
            less = difference(values, exact[measure])
            told[measure] |= {"less_exact": less.mean, "interval": less.interval}
    return told


def table(found: dict[str, Any]) -> str:
    """In Markdown: accuracy, and the difference to exact with its interval."""
    lines = ["| set | method | | top-1, % | less exact | relation gap | less exact |"]
    lines.append("|---|---|---|---|---|---|---|")
    for dataset, about in found["sets"].items():
        for method, ways in about["methods"].items():
            for way, each in ways.items():
                cells = [dataset, method, way]
                for measure, digits in zip(MEASURES, (2, 4), strict=True):
                    cells.append(
                        f"{each[measure]['mean']:.{digits}f} ± {each[measure]['std']:.{digits}f}"
                    )
                    cells.append(_less(each[measure], digits))
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _less(told: dict[str, Any], digits: int) -> str:
    if "less_exact" not in told:
        return ""
    ends = told["interval"]
    said = f"{told['less_exact']:+.{digits}f}"
    return said if ends is None else f"{said} ({ends[0]:+.{digits}f} to {ends[1]:+.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
