"""Exercise 12.1: FLOPs of a training run, by the formula of `training.plan`."""

from difflm_core.classroom.checks import Check

# (steps, rows, L, V, width, layers, share): the toy language, Shakespeare, LM1B, OpenWebText, and two small ones
CASES = [
    (1500, 256, 12, 114, 96, 2, 0.5),
    (1500, 256, 12, 114, 96, 2, 1.0),
    (1000, 64, 64, 1024, 160, 4, 0.5),
    (1_000_000, 512, 128, 30_522, 768, 12, 0.5),
    (1_000_000, 512, 1024, 50_257, 768, 12, 1.0),
    (1, 1, 2, 3, 4, 1, 0.25),
    (7, 5, 3, 11, 2, 1, 1.0),
]


def right(steps, rows, L, V, width, layers, share):
    trunk = 12 * layers * width**2
    return steps * rows * L * (6 * trunk + 12 * layers * width * L + 6 * share * V * width)


def near(value, truth: float) -> bool:
    return abs(float(value) - truth) <= 1e-6 * abs(truth)


def test(training_flops):
    for case in CASES:
        found, truth = float(training_flops(*case)), right(*case)
        assert near(found, truth), (
            "with steps, rows, L, V, width, layers, share ="
            f" {case}: {truth:.6g} FLOPs, yours are {found:.6g}, {found / truth:.4g} times as many."
        )


def like(wrong):
    """A probe: the answer is what `wrong` gives in every case."""
    return lambda training_flops: all(near(training_flops(*case), wrong(*case)) for case in CASES)


def parts(trunk=6, attention=12, head=6, asked=None, weights=12, of_rows=True, square=False, embedding=False):
    """The formula with other numbers in it."""

    def wrong(steps, rows, L, V, width, layers, share):
        share = share if asked is None else asked
        each = trunk * weights * layers * width**2 + attention * layers * width * L * (L if square else 1)
        each += head * share * V * width + (6 * V * width if embedding else 0)
        return steps * (rows if of_rows else 1) * L * each

    return wrong


MISTAKES = [
    (
        like(parts(trunk=2, attention=4, head=2)),
        "That is the forward pass. The backward pass costs twice as much again: gradients of the inputs and of the"
        " weights.",
    ),
    (
        like(parts(trunk=4, attention=8, head=4)),
        "You count the backward pass once. It has two products for each one of the forward pass: gradient of the input"
        " and gradient of the weights. 1 + 2 = 3 times the forward pass.",
    ),
    (
        like(parts(trunk=3, attention=6, head=3)),
        "A multiplication comes with an addition: 2 FLOPs for each weight and position, not 1.",
    ),
    (
        like(parts(attention=0)),
        "Attention is missing: every position compares itself with L and mixes L values: 2 x 2 width L a layer, 3 times"
        " for training.",
    ),
    (
        like(parts(attention=6)),
        "Half of the attention is missing: comparing costs 2 width L a position, and mixing as much again.",
    ),
    (
        like(parts(attention=14)),
        "3.5 times the forward pass is what fused attention computes (section 2). `--plan` leaves out what is computed"
        " again: 3 times, attention too.",
    ),
    (
        like(lambda steps, rows, L, V, width, layers, share: right(steps, rows, L, V, width, layers, share) / L),
        "Each of the `rows` has L positions, and the network works at all of them.",
    ),
    (
        like(parts(square=True)),
        "L is in the attention once too often: each *position* looks at L others, and L positions are counted already.",
    ),
    (
        like(parts(asked=1.0)),
        "The head is asked at a share of the positions only: masked diffusion needs it at masks.",
    ),
    (like(parts(head=0)), "The head is missing: V x width weights, at a share of the positions."),
    (
        like(parts(weights=4)),
        "Only the attention's matrices (4 width^2) are counted. The MLP has 8 width^2 more in every layer.",
    ),
    (
        like(parts(weights=8)),
        "Only the MLP's matrices (8 width^2) are counted. Attention has 4 width^2 more in every layer.",
    ),
    (like(parts(of_rows=False)), "This is for one row a step: every step reads `rows` of them."),
    (
        like(parts(embedding=True)),
        "The embedding is a look-up, no product: it costs parameters, not FLOPs.",
    ),
    (
        like(lambda steps, *rest: right(1, *rest)),
        "This is one step. The run makes `steps` of them.",
    ),
]  # fmt: skip

ex12_1 = Check(
    "12.1",
    test=test,
    mistakes=MISTAKES,
    hints=[
        "A matrix of n weights costs 2 n FLOPs a position forward, and twice that backward. How many positions pass"
        " through the network in the whole run?",
        "Trunk: 12 width^2 weights a layer (attention 4, MLP 8). Attention besides: L positions are compared with and"
        " mixed, 4 width L a layer forward. Head: V width weights, at a share of the positions.",
        "positions = steps * rows * L; per position 6 * 12 * layers * width**2 + 12 * layers * width * L"
        " + 6 * share * V * width",
    ],
    reference=right,
    praise="The same formula that `--plan` uses.",
)
