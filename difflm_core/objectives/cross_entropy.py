"""Cross-entropy that writes into its logits: the same numbers and gradients, two arrays of the vocabulary's size fewer.

PyTorch's `F.cross_entropy` keeps log-probabilities beside the logits and makes a third array for the gradient. With a
vocabulary of 50,000 these copies cost as much as a matrix product. Here one array serves in turn as logits, as
exp(logits - max), and as the gradient (softmax - one-hot). So the logits handed in are spent: nobody else may use them.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable


class SpendingCrossEntropy(torch.autograd.Function):
    """nll_n = log sum_v exp(logits_nv) - logits_n,target; its gradient by logits is softmax - one-hot(target)."""

    @staticmethod
    def forward(ctx, logits: Float[Tensor, "N V"], target: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
        largest = logits.amax(-1, keepdim=True)  # subtracted, so that exp cannot overflow
        chosen = logits.gather(-1, target[:, None]) - largest
        weights = logits.sub_(largest).exp_()
        total = weights.sum(-1, keepdim=True)
        ctx.save_for_backward(weights, total, target)
        return (total.log() - chosen)[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Float[Tensor, "N"]):
        weights, total, target = ctx.saved_tensors
        gradient = weights.mul_(grad[:, None] / total)
        return gradient.scatter_add_(-1, target[:, None], -grad[:, None]), None


def spend_on_cross_entropy(logits: Float[Tensor, "N V"], target: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
    """-log softmax(logits)[target] in nats, row by row. `logits` must be the caller's own and is overwritten."""
    return SpendingCrossEntropy.apply(logits, target)
