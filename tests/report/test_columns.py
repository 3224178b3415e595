import io

from rich.console import Console

from relatum.report.columns import Column, latex, latex_text, markdown, terminal

COLUMNS = [
    Column("teacher →\nmethod", ("a_b", "c|d"), left=True),
    Column("top-1 %", ("97.0 ± 0.1", ""), bold=frozenset({0, 1})),
]


def test_markdown() -> None:
    assert markdown(COLUMNS) == (
        "| teacher → method | top-1 % |\n"
        "| :-- | --: |\n"
        "| a\\_b | **97.0 ± 0.1** |\n"
        "| c\\|d | \N{EN DASH} |"
    )


def test_latex() -> None:
    text = latex(COLUMNS, "50 % of it", ["A note.", "Another_one."])
    assert text.splitlines() == [
        r"\begin{table}[tbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        r"\caption{50 \% of it}",
        r"\begin{tabular}{@{}lr@{}}",
        r"\toprule",
        r"teacher $\to$ &  \\",
        r"method & top-1 \% \\",
        r"\midrule",
        r"a\_b & \textbf{97.0 $\pm$ 0.1} \\",
        r"c$|$d & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip\parbox{\linewidth}{\footnotesize A note. Another\_one.}",
        r"\end{table}",
    ]
    assert "parbox" not in latex(COLUMNS, "no notes")


def test_no_text_is_a_command() -> None:
    nasty = r"\input{/etc/passwd} & 100% $x$ #1 ~ ^ {}"
    text = latex_text(nasty)
    assert text.startswith(r"\textbackslash{}input\{/etc/passwd\} \& 100\% \$x\$ \#1")
    bare = text.replace(r"\textbackslash{}", "").replace(r"\textasciitilde{}", "")
    bare = bare.replace(r"\textasciicircum{}", "")
    for at, each in enumerate(bare):
        if each in "&%$#_{}":
            assert bare[at - 1] == "\\"


def test_terminal() -> None:
    console = Console(file=io.StringIO(), width=60)
    console.print(terminal(COLUMNS, ["said [bold]plainly[/bold]"], "a title"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "a title" in text
    assert "97.0 ± 0.1" in text
    assert "[bold]plainly" in text
    assert "\N{EN DASH}" in text
