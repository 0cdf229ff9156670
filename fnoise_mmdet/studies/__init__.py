"""Several trainings as one study: their work dirs and processes, sweeps of them, and what they cost."""
