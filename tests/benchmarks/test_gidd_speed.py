"""GIDD at V = 50,000 beside one-hot targets and running sums: the same numbers, then time and memory."""

import torch
from measure import interleaved, milliseconds
from torch import nn

from difflm_core.objectives import elbo_weights, gidd_at
from difflm_core.processes import hybrid

V, B, L, D = 50_000, 8, 64, 256


def kept_for_backward(route):
    """Bytes of the distinct tensors that autograd stores while `route` runs."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        route()
    return sum(kept.values())


class Head(nn.Module):
    """A denoiser with nothing but its last layer: hidden states are given."""

    def __init__(self, h):
        super().__init__()
        self.V, self.h, self.linear = V, h, nn.Linear(D, V, bias=False)
        nn.init.normal_(self.linear.weight, std=0.1)

    def hidden(self, z_t, t):
        return self.h

    def logits(self, h):
        return self.linear(h)


class Given:
    """A denoiser whose logits are already there: what is left is the loss alone."""

    def __init__(self, logits):
        self.V, self.given = V, logits

    def hidden(self, z_t, t):
        return self.given

    def logits(self, h):
        return h


def one_hot_corruption(process, x, t):
    """Probabilities of all V + 1 symbols at every position, their running sum, and where a uniform number falls."""
    probabilities = process.marginal(x, t)  # (B, L, V + 1)
    u = torch.rand(*x.shape, 1)
    return torch.searchsorted(probabilities.cumsum(-1), u, right=True)[..., 0].clamp_max(process.V)


def direct_loss(process, logits, x, z_t, t, weight):
    """Theorem 3.7 as written: one-hot targets, both distributions, both logarithms, all (B, L, V + 1)."""
    log_q = process.marginal(x, t).clamp_min(1e-30).log()
    log_p = process.marginal(logits.softmax(-1), t).clamp_min(1e-30).log()
    kl = nn.functional.kl_div(log_p, log_q, log_target=True, reduction="none").sum(-1)
    log_ratio = (log_q.gather(-1, z_t[..., None]) - log_p.gather(-1, z_t[..., None]))[..., 0]
    return weight * (kl + log_ratio.exp() - log_ratio - 1)


def shares(z, x):
    """How much of the text is left, and how much is masked."""
    return [(z == x).double().mean().item(), (z == V).double().mean().item()]


def test_corruption(table):
    process = hybrid(V, 0.2)
    x, t = torch.randint(V, (B, L)), torch.full((B,), 0.5)
    best = interleaved({"theirs": lambda: one_hot_corruption(process, x, t), "ours": lambda: process.corrupt(x, t)}, 3)
    for z in (process.corrupt(x, t), one_hot_corruption(process, x, t)):
        assert all(abs(share - 0.4) < 5 * (0.24 / z.numel()) ** 0.5 for share in shares(z, x))  # 0.4 each at t = 1/2
    report(table, f"GIDD corruption, {B * L} positions, V = {V:,}", best)


def report(table, what, best):
    ratio = f"{best['theirs'] / best['ours']:,.1f}x faster"
    table(what, milliseconds(best["theirs"]), milliseconds(best["ours"]), ratio)


def compare(name, denoiser, leaves, table):
    """The loss of `denoiser` and its gradients at `leaves`, in one pass and directly: equal, and how fast."""
    torch.manual_seed(0)
    process, x, t = hybrid(V, 0.2), torch.randint(V, (B, L)), torch.linspace(0.1, 0.9, B)
    z = process.corrupt(x, t)
    weight = elbo_weights(process, x, z, t).float()

    def one_pass():
        return gidd_at(process, denoiser, x, z, t)

    def direct():
        return direct_loss(process, denoiser.logits(denoiser.hidden(z, t)), x, z, t, weight)

    def forward_and_backward(loss):
        for leaf in leaves:
            leaf.grad = None
        value = loss()
        value.mean().backward()
        return value.detach(), [leaf.grad for leaf in leaves]

    (a, grads_a), (b, grads_b) = forward_and_backward(one_pass), forward_and_backward(direct)
    assert torch.allclose(a, b, rtol=1e-3, atol=1e-3)
    assert all((ours - reference).norm() < 1e-3 * reference.norm() for ours, reference in zip(grads_a, grads_b))
    best = interleaved(
        {"theirs": lambda: forward_and_backward(direct), "ours": lambda: forward_and_backward(one_pass)}, 3
    )
    small, large = kept_for_backward(one_pass), kept_for_backward(direct)
    assert small < 0.5 * large
    report(table, f"GIDD loss {name}, forward + backward, V = {V:,}", best)
    what = f"GIDD loss {name}, kept for backward, V = {V:,}"
    table(what, f"{large / 2**20:.0f} MiB", f"{small / 2**20:.0f} MiB", f"{small / large:.2f}x as much")


def test_loss_with_the_head(table):
    head = Head(torch.randn(B, L, D, requires_grad=True))
    compare("with the head", head, (head.h, head.linear.weight), table)


def test_loss_alone(table):
    logits = (1.6 * torch.randn(B, L, V)).requires_grad_()
    compare("alone", Given(logits), (logits,), table)
