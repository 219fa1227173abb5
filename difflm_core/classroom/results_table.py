"""`python -m difflm_core.classroom.results_table`: write README's table of results anew, from the stored studies
scoreboard and text_scoreboard and the figures of the papers.
"""

from pathlib import Path
from statistics import mean

from difflm_core.classroom.lesson import load_results
from difflm_core.classroom.pictures import lesson_12 as toy
from difflm_core.classroom.pictures import lesson_12_text as text

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- results: made by `python -m difflm_core.classroom.results_table` -->", "<!-- end of results -->"
HEADS = (
    "method", "toy: bound above the exact cost", "right sentences", "word pairs covered", "Wikipedia: bound",
    "judge's perplexity", "diversity", "its paper says",
)  # fmt: skip

# writer in the toy scoreboard: (what the paper itself reports, the paper, its arXiv number); None: no figure was read
PAPERS = {
    ("ar", "left to right"): ("perplexity 17.5 on OpenWebText", "Sahoo et al. 2024", "2406.07524"),
    ("d3pm_uniform", "posterior"): ("at most 1.61 bits per character on text8", "Austin et al. 2021", "2107.03006"),
    ("d3pm_absorbing", "posterior"): ("at most 1.45 there, AR 1.23", "Austin et al. 2021", "2107.03006"),
    ("mdlm", "one by one"): ("perplexity at most 23.2 on OpenWebText", "Sahoo et al. 2024", "2406.07524"),
    ("mdlm", "remdm"): ("MAUVE 0.40 on OpenWebText, MDLM 0.04, 1,024 steps", "Wang et al. 2025", "2503.00307"),
    ("mdlm", "star"): (None, "Meshchaninov et al. 2025", "2510.08369"),
    ("gidd", "posterior"): (None, "von Rütte et al. 2025", "2503.04482"),
    ("gstar", "gstar"): (None, "Meshchaninov et al. 2025", "2510.08369"),
    ("block", "blocks"): (None, "Arriola et al. 2025", "2503.09573"),
    ("diffusion_lm", "ancestral"): ("93.8 % of asked syntax spans on E2E, FUDGE 54.2", "Li et al. 2022", "2205.14217"),
    ("ld4lg", "diffusion"): ("MAUVE 0.72 on ROCStories, human texts 0.95", "Lovelace et al. 2023", "2212.09462"),
    ("planner", "diffusion"): (None, "Zhang et al. 2023", "2306.02531"),
    ("tencdm", "diffusion"): ("MAUVE 0.76 on ROCStories, human texts 0.88", "Shabalin et al. 2024", "2402.19097"),
    ("cosmos", "diffusion"): ("8 times smaller, quality as on tokens", "Meshchaninov et al. 2025", "2506.21170"),
}


def results_table() -> str:
    """Markdown: one row a method, figures of the toy language, of real text, and of the method's own paper."""
    language, real = load_results("scoreboard"), load_results("text_scoreboard")
    systems = {writer: system for system, writer in text.WRITER_OF.items()}
    lines = ["| " + " | ".join(HEADS) + " |", "|---" + "|---:" * (len(HEADS) - 2) + "|---|"]
    for writer, (said, authors, paper) in PAPERS.items():
        rows = text.rows_of(real, systems[writer], None)
        link = f"[{authors}](https://arxiv.org/abs/{paper})"
        said = f"{said} ({link})" if said else link
        cells = [toy.WRITERS[writer][0].split(",")[0], *on_toy(language, writer), *on_text(rows), said]
        lines.append("| " + " | ".join(cells) + " |")
    true, human = toy.rows_of(language, "true"), text.rows_of(real, "human", None)
    covered = f"{100 * mean(row['coverage'] for row in true):.0f} %"
    lines.append(f"| true texts | 0 | 100 % | {covered} | | {' | '.join(on_text(human)[1:])} | |")
    return "\n".join(lines)


def on_toy(study: dict, writer: tuple[str, str]) -> list[str]:
    """Nats per word above what the held-out sentences cost the language itself, and what the samples are like at the
    writer's best number of calls.
    """
    bound, best = toy.bound_cells(study, *writer)[0], toy.best_point(study, *writer)
    exact = toy.rows_of(study, "true")[0]["exact"]
    above = bound if bound == "none" else f"{float(bound) - exact:.3f}"
    return [above, f"{100 * best['grammatical']:.0f} %", f"{100 * best['coverage']:.0f} %"]


def on_text(rows: list[dict]) -> list[str]:
    """Nats per word piece (with their error where it is large), the judge's perplexity, diversity; means of seeds."""
    if "bound" not in rows[0]:
        bound = ""
    elif found := text.bound_and_error(rows):
        value, error = found
        bound = f"{value:.2f}" if error < 0.2 else f"{value:.0f} ± {error:.0f}"
    else:
        bound = "none"
    return [bound, f"{mean(row['perplexity'] for row in rows):,.0f}", f"{mean(row['diversity'] for row in rows):.2f}"]


def with_table(page: str) -> str:
    """The page with the table between its two marks made anew."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{results_table()}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    print("the table of results in README.md is made anew")


if __name__ == "__main__":
    main()
