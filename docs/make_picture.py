"""Draw the README's picture: the relations of fifty images to each network of a finished demo.

Run ``make demo`` first, then ``python docs/make_picture.py runs/demo docs/relations.png``.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from safetensors.numpy import load_file

ROWS = {
    "teacher": None,
    "student alone": "none",
    "kd": "kd",
    "sp": "sp",
    "rrkd": "rrkd",
    "rrd": "rrd",
}


def main(folder: Path, picture: Path) -> None:
    """One matrix for each network, all in one scale; below, what it is off the teacher's."""
    teacher = load_file(folder / "kd/seed-0/relations.safetensors")["teacher"]
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    axes = figure.subplots(2, len(ROWS))
    shared = {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0, "interpolation": "nearest"}
    off = {"cmap": "RdBu_r", "vmin": -0.6, "vmax": 0.6, "interpolation": "nearest"}
    for column, (title, name) in enumerate(ROWS.items()):
        matrix = teacher
        if name is not None:
            matrix = load_file(folder / name / "seed-0/relations.safetensors")["student"]
        shown = axes[0, column].imshow(matrix, **shared)
        axes[0, column].set_title(title, fontsize=11)
        error = axes[1, column].imshow(matrix - teacher, **off)
        mean = np.abs(matrix - teacher).mean()
        axes[1, column].set_xlabel("" if name is None else f"mean |Δ| {mean:.3f}", fontsize=9)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    axes[0, 0].set_ylabel("cosine", fontsize=9)
    axes[1, 0].set_ylabel("less the teacher's", fontsize=9)
    figure.colorbar(shown, ax=axes[0, :], fraction=0.012, pad=0.01)
    figure.colorbar(error, ax=axes[1, :], fraction=0.012, pad=0.01)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
