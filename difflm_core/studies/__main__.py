"""`python -m difflm_core.studies [NAME ... | all]`: list the stored studies, or run them one after the other."""

import importlib
import pkgutil
import sys

import difflm_core.studies as studies

NOT_STUDIES = (
    "__main__", "flops", "kept_rows", "ladder_losses", "scoreboard_latents", "scoreboard_methods", "store",
    "toy_quality",
)  # fmt: skip
NAMES = sorted(m.name for m in pkgutil.iter_modules(studies.__path__) if m.name not in NOT_STUDIES)


def main(chosen: list[str]) -> int:
    if not chosen:
        for name in NAMES:
            print(
                f"{name:20} "
                f"{(importlib.import_module(f'difflm_core.studies.{name}').__doc__ or '').strip().splitlines()[0]}"
            )
        print("\nRun some by name, or all of them with: python -m difflm_core.studies all")
        return 0
    unknown = [name for name in chosen if name not in (*NAMES, "all")]
    if unknown:
        print(f"There is no study {', '.join(unknown)}; there are {', '.join(NAMES)}.", file=sys.stderr)
        return 2
    for name in NAMES if "all" in chosen else chosen:
        print(f"== {name}")
        importlib.import_module(f"difflm_core.studies.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
