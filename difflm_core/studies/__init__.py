"""Studies: runs over several seeds that take longer than a class. Each is a short script whose results lessons plot.

    python -m difflm_core.studies              list them
    python -m difflm_core.studies all          run all (hours on 2 cores), or name some
    python -m difflm_core.studies.mdlm_ladder  one of them

Each writes lessons/results/NAME.json: settings, seeds, every run's figures, and the version of the code.
"""
