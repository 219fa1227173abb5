"""A classifier that reads noisy vectors: p(c | z_t, t), what guides a Diffusion-LM towards a label c.

It is trained on noisy vectors, because those are what it is shown while a text comes into being: at t = 0.9 it has to
say how likely a red fox still is. The trunk is a small `VectorTransformer`; every
position votes for the labels, and the votes are averaged.
"""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from difflm_core.models.vector_transformer import VectorConfig, VectorTransformer


class LatentClassifier(nn.Module):
    """`classifier(z_t, t) -> (B, C)`, logits of the C `labels`; `config` is that of the trunk, D and length as in the
    model that it guides.
    """

    def __init__(self, labels: Sequence[str], config: VectorConfig):
        super().__init__()
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise ValueError(f"A classifier tells at least 2 labels with different names apart, got {list(labels)}.")
        self.labels = list(labels)
        self.trunk = VectorTransformer(config)
        self.trunk.output = nn.Linear(config.width, len(labels))
        nn.init.zeros_(self.trunk.output.weight)  # undecided at first
        nn.init.zeros_(self.trunk.output.bias)

    def forward(self, z_t: Float[Tensor, "B L D"], t: Float[Tensor, "B"]) -> Float[Tensor, "B C"]:
        return self.trunk(z_t, t).mean(1)

    def index(self, label: str) -> int:
        """The place of a label. Raises ValueError naming the known ones."""
        if label not in self.labels:
            raise ValueError(f"This classifier knows no label {label!r}; it knows {', '.join(self.labels)}.")
        return self.labels.index(label)

    def says(self, label: str) -> Callable[[Tensor, Tensor], Float[Tensor, "B"]]:
        """log p(c = label | z_t, t) as a function of (z_t, t), nats per text: what `classifier_guide` climbs."""
        place = self.index(label)
        return lambda z_t, t: F.log_softmax(self(z_t, t), dim=-1)[:, place]
