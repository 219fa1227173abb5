"""Noise on symbols: every token is either itself, the mask, or a uniformly random token.

All discrete processes of the course except D3PM's general matrices are one family, q(z_t | x) = alpha_t x + mask_t m +
uniform_t u, where x is the clean token, m the mask and u the uniform law over the V clean tokens. Three scalars that
sum to one, the *masses*, say everything: no K x K matrix and no (B, L, V) tensor is needed to corrupt. `masked` has no
uniform mass (MDLM, LLaDA), `uniform` has no mask mass (D3PM-uniform, UDLM), `hybrid` has both (GIDD, von Ruette et al.
2025).

Between two times s < t the same holds with alpha_{t|s} = alpha_t / alpha_s and the masses that are missing, mass_{t|s}
= mass_t - alpha_{t|s} mass_s (GIDD Prop. 3.3). The posterior q(z_s | z_t, x) is Bayes' rule, in closed form because a
token that jumped has forgotten where it came from.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from difflm_core.processes.schedules import Linear, Schedule, check_times

Masses = tuple[Float[Tensor, "*B"], Float[Tensor, "*B"], Float[Tensor, "*B"]]


@dataclass(frozen=True)
class DiscreteProcess:
    """A process on V clean tokens and a mask, `mask_id == V`. Build one with `masked`, `uniform` or `hybrid`.

    `masses(t)` gives (alpha, mask_mass, uniform_mass), each shaped like t and summing to 1; the uniform mass is spread
    evenly over the V clean tokens.
    """

    V: int
    schedule: Schedule
    masses: Callable[[Float[Tensor, "*B"]], Masses] = field(repr=False)
    has_uniform: bool = False

    def __post_init__(self):
        if self.V < 2:
            raise ValueError(
                f"A vocabulary needs at least 2 tokens, got V = {self.V}: an empty or one-character corpus has "
                "nothing to learn."
            )

    @property
    def mask_id(self) -> int:
        return self.V

    def prior(
        self, shape: tuple[int, int], generator: torch.Generator | None = None, device=None
    ) -> Int[Tensor, "B L"]:
        """z_1: all masks, all uniform, or the mixture of both that the masses at t = 1 give. Never data, even where a
        schedule ends at alpha(1) > 0.
        """
        z_1 = torch.full(shape, self.mask_id, dtype=torch.long, device=device)
        if self.has_uniform:
            _, mask_mass, uniform_mass = self.masses(torch.ones(1, device=device))
            is_random = torch.rand(shape, generator=generator, device=device) * (mask_mass + uniform_mass) >= mask_mass
            z_1 = torch.where(is_random, torch.randint(self.V, shape, generator=generator, device=device), z_1)
        return z_1

    def corrupt(
        self, x: Int[Tensor, "B L"], t: Float[Tensor, "B"], generator: torch.Generator | None = None
    ) -> Int[Tensor, "B L"]:
        """Draw z_t ~ q(z_t | x): one uniform number and two thresholds per token, O(B L) whatever V is."""
        check_times(t)
        self.check_tokens(x)
        alpha, mask_mass, _ = (mass[:, None] for mass in self.masses(t))
        u = torch.rand(x.shape, generator=generator, device=x.device)
        z_t = torch.where(u < alpha, x, self.mask_id)
        if self.has_uniform:
            random_token = torch.randint(self.V, x.shape, generator=generator, device=x.device)
            z_t = torch.where(u >= alpha + mask_mass, random_token, z_t)
        return z_t

    def marginal(self, x: Int[Tensor, "B L"] | Float[Tensor, "B L V"], t: Float[Tensor, "B"]) -> Float[Tensor, "B L K"]:
        """q(z_t | x) as probabilities over K = V + 1 symbols. Memory O(B L V): for teaching, tests and small V."""
        check_times(t)
        alpha, mask_mass, uniform_mass = (mass[:, None] for mass in self.masses(t))
        return self._mixture(x, alpha, mask_mass, uniform_mass / self.V)

    def between(self, s: Float[Tensor, "B"], t: Float[Tensor, "B"]) -> Masses:
        """(alpha, mask_mass, uniform_mass) of the jump from s to t > s. At alpha_s = 0 everything has jumped already
        and alpha_{t|s} is taken as 0.
        """
        check_order(s, t)
        alpha_s, mask_s, uniform_s = self.masses(s)
        alpha_t, mask_t, uniform_t = self.masses(t)
        ratio = torch.where(
            alpha_s > 0, alpha_t / alpha_s.clamp_min(torch.finfo(alpha_s.dtype).tiny), torch.zeros_like(alpha_s)
        )
        return ratio, (mask_t - ratio * mask_s).clamp_min(0), (uniform_t - ratio * uniform_s).clamp_min(0)

    def jump_rates(self, t: Float[Tensor, "B"]) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
        """(to the mask, to a random token): how often a token jumps per unit of time, whatever it is now. Float64,
        derivatives exact.

        This is `between` for a vanishing step, mass' - (alpha' / alpha) mass (GIDD Prop. 3.3). Rates that are infinite
        at an end are taken just inside.
        """
        with torch.inference_mode(False), torch.enable_grad():
            t = inside(t).detach().clone().requires_grad_()
            alpha, *jumped = self.masses(t)
            # 0 * t: also a mass that is zero at all times has a derivative
            dalpha, *slopes = (
                torch.autograd.grad((mass + 0 * t).sum(), t, retain_graph=True)[0] for mass in (alpha, *jumped)
            )
        alpha = alpha.detach()
        decay = torch.where(alpha > 0, dalpha / alpha, 0)  # nothing is left to decay at alpha = 0
        return tuple((slope - decay * mass.detach()).clamp_min(0) for mass, slope in zip(jumped, slopes))

    def posterior(
        self,
        z_t: Int[Tensor, "B L"],
        x: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        s: Float[Tensor, "B"],
        t: Float[Tensor, "B"],
    ) -> Float[Tensor, "B L K"]:
        """q(z_s | z_t, x) proportional to q(z_t | z_s) q(z_s | x), over K = V + 1 symbols.

        x may be token ids, or probabilities over the V tokens: then this is the *plug-in* posterior that D3PM (Eq. 4),
        MDLM and GIDD use. A z_t that x makes impossible (a visible token that x gives probability 0) has no posterior
        by Bayes' rule; it stays as it is, MDLM's carry-over. The vocabulary is walked through once or twice: what is
        divided by q(z_t | x) is a few numbers per position, before they are spread over the symbols.
        """
        alpha, mask_mass, uniform_mass = (mass[:, None] for mass in self.masses(s))
        stay, mask_jump, uniform_jump = (mass[:, None] for mass in self.between(s, t))
        at_mask, floor = z_t == self.mask_id, uniform_mass / self.V
        land = torch.where(at_mask, mask_jump, uniform_jump / self.V)  # q(z_t | z_s) if the token jumped: for any z_s
        x_sum, x_at_z = self._sum_and_entry(x, z_t)
        stayed = stay * torch.where(at_mask, mask_mass, alpha * x_at_z + floor)  # no jump: then z_s = z_t
        total = land * (alpha * x_sum + mask_mass + uniform_mass) + stayed  # q(z_t | x), (B, L)
        possible = total > 0
        land, stayed = (torch.where(possible, part / torch.where(possible, total, 1), 0) for part in (land, stayed))
        joint = self._mixture(x, land * alpha, land * mask_mass, land * floor)
        stayed = torch.where(possible, stayed, 1).to(joint.dtype)
        return joint.scatter_add_(-1, z_t[..., None], stayed[..., None])

    def step(
        self,
        z_t: Int[Tensor, "B L"],
        x_hat: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        s: Float[Tensor, "B"],
        t: Float[Tensor, "B"],
        generator: torch.Generator | None = None,
    ) -> Int[Tensor, "B L"]:
        """Draw z_s ~ q(z_s | z_t, x_hat). Ids for x_hat: the mixture over a sampled clean text; probabilities: the
        plug-in posterior.
        """
        cdf = self.posterior(z_t, x_hat, s, t).cumsum(-1, dtype=torch.float64)
        u = torch.rand(z_t.shape, generator=generator, device=z_t.device, dtype=torch.float64)[..., None]
        # right=True finds the first cdf > u, so that symbols of probability zero are never drawn
        return torch.searchsorted(cdf, u * cdf[..., -1:], right=True).squeeze(-1).clamp_max(self.V)

    def check_tokens(self, x: Int[Tensor, "B L"]) -> None:
        """Refuse ids outside 0..V-1 (on the CPU only, see `check_times`)."""
        if x.ndim != 2:
            raise ValueError(f"Tokens must be shaped (batch, length), got {tuple(x.shape)}.")
        if x.device.type == "cpu" and x.numel() and not 0 <= int(x.min()) <= int(x.max()) < self.V:
            raise ValueError(
                f"Clean token ids must lie in 0..{self.V - 1}, got {int(x.min())}..{int(x.max())}: was the text "
                "encoded with another vocabulary?"
            )

    def _mixture(self, x, alpha, mask_mass, floor) -> Float[Tensor, "B L K"]:
        """alpha x + floor at the V clean tokens, mask_mass at the mask; the three are (B, L) or (B, 1)."""
        if x.is_floating_point():
            clean = (x * alpha[..., None]).add_(floor[..., None])  # faster than a broadcasting addcmul
            return torch.cat([clean, mask_mass.expand(x.shape[:2])[..., None].to(clean.dtype)], dim=-1)
        self.check_tokens(x)
        law = floor.expand(x.shape)[..., None].repeat(1, 1, self.V + 1)
        law[..., self.mask_id] = mask_mass
        return law.scatter_add_(-1, x[..., None], alpha.expand(x.shape)[..., None])

    def _sum_and_entry(self, x, z_t):
        """The sum of x over the vocabulary, and its entry at z_t (any number where z_t is the mask)."""
        if x.is_floating_point():
            return x.sum(-1), x.gather(-1, z_t.clamp_max(self.V - 1)[..., None])[..., 0]
        return 1, x == z_t


def inside(t: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """t as float64, kept off 0 and 1 by the least its own dtype can tell: for derivatives and weights that are infinite
    at the ends.
    """
    edge = 2.0**-53 if t.dtype == torch.float64 else 2.0**-24
    return t.double().clamp(edge, 1 - edge)


def check_order(s: Float[Tensor, "B"], t: Float[Tensor, "B"]) -> None:
    """Refuse a step that does not go from the noisier t to an earlier s."""
    check_times(s)
    check_times(t)
    if t.device.type == "cpu" and bool((s >= t).any()):
        raise ValueError("A reverse step goes from t to an earlier s < t; got s >= t.")


def check_ends(schedule: Schedule) -> None:
    """Refuse schedules that do not run from alpha(0) = 1 to alpha(1) = 0, within 0.001."""
    start, end = schedule.alpha(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
    if start < 0.999 or end > 0.001:
        raise ValueError(
            f"Discrete noise needs a schedule with alpha(0) = 1 and alpha(1) = 0, but {schedule} runs from "
            f"{start:.4g} to {end:.4g}: take Linear or Cosine."
        )


def masked(V: int, schedule: Schedule | None = None) -> DiscreteProcess:
    """Absorbing noise: a token is itself or [MASK] (D3PM absorbing, MDLM, LLaDA).

    The schedule must run from alpha(0) = 1 to alpha(1) = 0 (within 0.001): `masked_nelbo` has no terms for tokens lost
    at t = 0 or left at t = 1, and would fall below the entropy without them.
    """
    schedule = schedule or Linear()
    check_ends(schedule)

    def masses(t):
        alpha = schedule.alpha(t)
        return alpha, 1 - alpha, torch.zeros_like(alpha)

    return DiscreteProcess(V, schedule, masses)
