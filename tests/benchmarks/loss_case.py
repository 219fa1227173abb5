"""One batch for both losses: 1,024 positions (or more), about half of them masked, the same head up to the row that
MDLM keeps for the mask.
"""

import torch
from peers import full_logits_loss

from difflm_core.objectives import stratified_times
from difflm_core.objectives.fixed_rows import rows_for
from difflm_core.objectives.masked import weighted_cross_entropy
from difflm_core.processes import masked

B, L, WIDTH = 8, 128, 256
PIECE = 64  # positions at a time, for `head_rows`


class Case:
    """`ours()` and `theirs()` give the (B, L) loss from the trunk's output h; `head` has V rows, `full_head` V + 1."""

    def __init__(self, V: int, B: int = B):
        generator = torch.Generator().manual_seed(0)
        self.V, self.process = V, masked(V)
        self.full_head = (0.02 * torch.randn(V + 1, WIDTH, generator=generator)).requires_grad_()
        self.head = self.full_head.detach()[:V].requires_grad_()
        self.h = torch.randn(B, L, WIDTH, generator=generator).requires_grad_()
        self.x = torch.randint(V, (B, L), generator=generator)
        self.t = stratified_times(B, generator)
        self.z_t = self.process.corrupt(self.x, self.t, generator)

    def hidden(self, z_t, t):
        return self.h

    def logits(self, rows):
        return torch.nn.functional.linear(rows, self.head)

    def ours(self, fixed_rows: int | None = None):
        return weighted_cross_entropy(self.process, self, self.x, self.z_t, self.t, 1 / self.t, fixed_rows)

    def theirs(self):
        return full_logits_loss(self.full_head, self.h, self.x, self.z_t, 1 / self.t)

    def run(self, name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(loss, gradient of h, gradient of the head's first V rows)."""
        self.rows_at_once = PIECE if name == "pieces" else None
        fixed_rows = rows_for(self.process.schedule, B, L, B) if name == "fixed" else None
        head, loss = (self.full_head, self.theirs()) if name == "theirs" else (self.head, self.ours(fixed_rows))
        h_gradient, head_gradient = torch.autograd.grad(loss.mean(), (self.h, head))
        return loss.detach(), h_gradient, head_gradient[: self.V]
