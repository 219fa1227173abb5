"""Recorded trajectories: how one text came to be, step by step, in one JSON format for every sampler of the course.

    save(from_sample(sample, 0, language.words.__getitem__, language.V, "MDLM, T = 8"), "mdlm.json")
    film = load("mdlm.json", language.words)

The format is written down in docs/trajectories.md. What a sampler does not record (a latent sampler knows no token's
probability) is absent from the file, and `records` says which fields are there. recordings.py makes trajectories from
samples, films.py shows them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FORMAT, VERSION = "difflm-trajectory", 1
KEPT, WRITTEN, CHANGED, REMASKED = "kept", "written", "changed", "remasked"
CHANGES = (KEPT, WRITTEN, CHANGED, REMASKED)


@dataclass(frozen=True)
class Site:
    """One position at one step: its token, what the step did to it, and, if it was written, with which probability
    and out of which entropy (nats).
    """

    token: str
    id: int
    change: str = KEPT
    probability: float | None = None
    entropy: float | None = None


@dataclass(frozen=True)
class Step:
    """The text after a step: its number (0 is the beginning), the time t shown to the network, network calls so far."""

    number: int
    t: float
    calls: int | None
    sites: tuple[Site, ...]


@dataclass(frozen=True)
class Trajectory:
    """One text from noise to the end. `mask_id` is V; `vocabulary` is a fingerprint of the V tokens."""

    title: str
    V: int
    vocabulary: str
    steps: tuple[Step, ...]

    @property
    def mask_id(self) -> int:
        return self.V

    @property
    def length(self) -> int:
        return len(self.steps[0].sites)

    def records(self) -> dict[str, bool]:
        """Which of the measured fields this trajectory has."""
        sites = [site for step in self.steps for site in step.sites]
        return {
            "probability": any(site.probability is not None for site in sites),
            "entropy": any(site.entropy is not None for site in sites),
            "calls": all(step.calls is not None for step in self.steps),
        }


def fingerprint(tokens: Sequence[str]) -> str:
    """16 hexadecimal digits that change with any token or its place."""
    return hashlib.sha256(json.dumps(list(tokens)).encode()).hexdigest()[:16]


def to_json(film: Trajectory) -> dict:
    """The trajectory as plain data; what is not known is left out."""
    return {
        "format": FORMAT, "version": VERSION, "title": film.title, "length": film.length,
        "vocabulary": {"V": film.V, "mask_id": film.mask_id, "fingerprint": film.vocabulary},
        "records": film.records(), "steps": [step_json(step) for step in film.steps],
    }  # fmt: skip


def step_json(step: Step) -> dict:
    sites = [
        {"position": i, "token": site.token, "id": site.id, "change": site.change}
        | {key: value for key in ("probability", "entropy") if (value := getattr(site, key)) is not None}
        for i, site in enumerate(step.sites)
    ]
    calls = {} if step.calls is None else {"calls": step.calls}
    return {"step": step.number, "t": step.t} | calls | {"sites": sites}


def from_json(data: dict, tokens: Sequence[str] | None = None) -> Trajectory:
    """The way back. With `tokens`, the V clean tokens of a model, the trajectory must be of that vocabulary.

    Raises ValueError for data of another format or version, with a field missing or wrong, of another vocabulary.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f'This is no recorded trajectory: its field "format" should be {FORMAT!r}.')
    if data.get("version") != VERSION:
        raise ValueError(
            f"The trajectory is of version {data.get('version')} and this code reads version {VERSION}: record it "
            "again, or read it with the code that wrote it."
        )
    try:
        vocabulary = data["vocabulary"]
        film = Trajectory(
            str(data["title"]),
            int(vocabulary["V"]),
            str(vocabulary["fingerprint"]),
            tuple(map(step_from, data["steps"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"The trajectory is damaged ({type(error).__name__}: {error}): record it again.") from error
    check(film)
    if tokens is not None and (len(tokens), fingerprint(tokens)) != (film.V, film.vocabulary):
        raise ValueError(
            f"The trajectory was recorded with another vocabulary ({film.V} tokens, fingerprint {film.vocabulary}; "
            f"here {len(tokens)}, {fingerprint(tokens)}): record it again with this model."
        )
    return film


def step_from(data: dict) -> Step:
    ordered = sorted(data["sites"], key=lambda site: site["position"])
    if [site["position"] for site in ordered] != list(range(len(ordered))):
        raise ValueError(f"the positions of step {data['step']} are not 0..{len(ordered) - 1}, each once")
    sites = tuple(
        Site(str(s["token"]), int(s["id"]), s["change"], s.get("probability"), s.get("entropy")) for s in ordered
    )
    return Step(int(data["step"]), float(data["t"]), data.get("calls"), sites)


def check(film: Trajectory) -> None:
    """ValueError unless there are steps, all equally long, with ids 0..V and known changes."""
    if not film.steps or not film.length:
        raise ValueError("The trajectory is empty: it needs at least one step with one position.")
    for step in film.steps:
        if len(step.sites) != film.length:
            raise ValueError(f"Step {step.number} has {len(step.sites)} positions but step 0 has {film.length}.")
        for i, site in enumerate(step.sites):
            if not 0 <= site.id <= film.V or site.change not in CHANGES:
                raise ValueError(
                    f"Step {step.number}, position {i}: id {site.id} must lie in 0..{film.V} and the change "
                    f"{site.change!r} be one of {', '.join(CHANGES)}."
                )


def save(film: Trajectory, path: Path | str) -> Path:
    """Write the trajectory as JSON: beside its place first, then renamed, so that no half file is left."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(to_json(film), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return part.replace(path)


def load(path: Path | str, tokens: Sequence[str] | None = None) -> Trajectory:
    """Read what `save` wrote; errors as `from_json`, FileNotFoundError if there is no such file."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no trajectory {path}: record one with save(from_sample(...), path)."
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON file, or only a part of one ({error}): record it again.") from error
    return from_json(data, tokens)
