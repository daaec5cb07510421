"""Many runs, each in a process of its own: on slots of one machine, on Ray, on Slurm, or as trials. Without Hydra."""
