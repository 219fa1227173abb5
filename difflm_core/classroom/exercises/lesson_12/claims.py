"""Exercise 12.4: what a table shows, what it contradicts, and what it cannot say.

The table is ReMDM's (Wang et al. 2025, arXiv 2503.00307): OpenWebText, 1,024 tokens, 5,000 samples, top-p 0.9.
"""

from difflm_core.classroom.checks import Check

# sampler: {steps: (MAUVE, generative perplexity, entropy)}
TABLE = {
    "MDLM": {128: (0.015, 61.5, 5.52), 512: (0.031, 53.0, 5.48), 1024: (0.042, 51.3, 5.46), 4096: (0.035, 50.9, 5.45)},
    "DFM corrector": {
        128: (0.041, 37.9, 5.31), 512: (0.211, 23.3, 5.23), 1024: (0.254, 21.7, 5.20), 4096: (0.269, 20.7, 5.17),
    },
    "ReMDM": {128: (0.057, 42.5, 5.43), 512: (0.350, 21.1, 5.21), 1024: (0.403, 28.6, 5.38), 4096: (0.656, 17.6, 5.20)},
}  # fmt: skip
AR, DATA = (0.760, 12.1, 5.22), (1.00, 14.8, 5.44)  # left to right, 1,024 tokens; held-out text

SUPPORTED, CONTRADICTED, OPEN = "supported", "contradicted", "cannot tell"
ANSWERS = (SUPPORTED, CONTRADICTED, OPEN)
CLAIMS = {
    "A": "At equal steps, ReMDM's texts are nearer to the data by MAUVE than plain MDLM's, in every column.",
    "B": "At 1,024 steps the DFM corrector's texts are better than ReMDM's: their perplexity is 21.7, not 28.6.",
    "C": "Plain MDLM gets better by MAUVE with every further column of steps.",
    "D": "At 1,024 steps ReMDM takes no more seconds for a text than the autoregressive model.",
    "E": "The autoregressive model's low perplexity means that it is nearer to the data than the data itself.",
    "F": "ReMDM's bound on -log p is lower than MDLM's.",
}
TRUTH = {"A": SUPPORTED, "B": CONTRADICTED, "C": CONTRADICTED, "D": OPEN, "E": CONTRADICTED, "F": OPEN}


def shown() -> str:
    """The table as text."""
    steps = list(TABLE["MDLM"])
    lines = [f"{'MAUVE / perplexity / entropy':30s}" + "".join(f"{f'{T} steps':>22s}" for T in steps)]
    lines += [f"{name:30s}" + "".join(f"{cell(row[T]):>22s}" for T in steps) for name, row in TABLE.items()]
    lines += [f"{name:30s}{cell(row):>22s}" for name, row in (("autoregressive", AR), ("data", DATA))]
    return "\n".join([*lines, "", *(f"{letter}. {claim}" for letter, claim in CLAIMS.items())])


def cell(row: tuple[float, float, float]) -> str:
    return f"{row[0]:.3f} / {row[1]:.1f} / {row[2]:.2f}"


def test(my_verdicts):
    found = my_verdicts()
    assert isinstance(found, dict) and set(found) == set(CLAIMS), (
        f"Return a dictionary with a verdict for each of {', '.join(CLAIMS)}."
    )
    for letter, verdict in found.items():
        assert verdict in ANSWERS, f"{letter}: one of {', '.join(map(repr, ANSWERS))}, got {verdict!r}."
    right = sum(found[letter] == TRUTH[letter] for letter in TRUTH)
    assert found == TRUTH, f"{right} of {len(TRUTH)} are right."


def says(letter: str, *verdicts: str):
    return lambda my_verdicts: my_verdicts()[letter] in verdicts


MISTAKES = [
    (says("A", OPEN, CONTRADICTED), "A: compare the first numbers of two rows, column by column. ReMDM's is higher in"
     " all four."),
    (says("B", SUPPORTED), "B: the perplexity is lower, and so is the entropy (5.20 against 5.38; data 5.44). Less"
     " varied text is likelier text: this is how a lower temperature looks. MAUVE says the opposite, 0.254 against"
     " 0.403."),
    (says("B", OPEN), "B: from the perplexities alone one could not tell. But the two figures beside them speak against"
     " the claim, MAUVE (0.254 against 0.403) and an entropy further from the data's."),
    (says("C", SUPPORTED), "C: read the row of MDLM to its end. The last column is lower than the one before."),
    (says("C", OPEN), "C: it claims *every* further column. One fall is enough to contradict it: 0.042, then 0.035."),
    (says("D", SUPPORTED, CONTRADICTED), "D: the table has steps, not seconds. An autoregressive model with a cache and"
     " a bidirectional network without one do very different work in a call: lesson 00, section 6."),
    (says("E", SUPPORTED), "E: a perplexity below that of the data is no merit. The texts are likelier than true ones,"
     " and less varied (5.22 against 5.44); MAUVE, 0.760 against 1.00, says how far they are from the data."),
    (says("E", OPEN), "E: the table does say: MAUVE is 1.00 for the data and 0.760 for the model, and nothing can be"
     " nearer to the data than the data."),
    (says("F", SUPPORTED, CONTRADICTED), "F: there is no bound in this table. The network is the same; ReMDM samples"
     " from another law, and what bounds *its* likelihood is looser (lesson 10, section 5). MAUVE is no"
     " likelihood."),
]  # fmt: skip

ex12_4 = Check(
    "12.4",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "Ask of each claim which numbers it is about. Are they in the table at all?",
        "Two of the claims name something that the table does not have: which?",
        "A claim about every column falls with one pair of numbers. A perplexity is read together with the entropy"
        " beside it, and with the data's own.",
    ],
    reference=lambda: dict(TRUTH),
    praise="Two of the six ask for what is not in the table: that is usual.",
)
