"""What a layout is worth: budget, fine-tuning loop, metrics, bench."""
