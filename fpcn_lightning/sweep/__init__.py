"""Many runs on one machine: a queue of jobs on slots of cards or cores, each a process of its own. Knows no Hydra."""
