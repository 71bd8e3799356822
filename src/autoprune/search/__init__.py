"""Which layout to try next: sampler, study, storage. The only room that knows Optuna."""
