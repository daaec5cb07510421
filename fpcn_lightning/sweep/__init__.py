"""Many runs, each a process of its own: on slots of one machine, on Ray, on Slurm, or as trials. Knows no Hydra."""
