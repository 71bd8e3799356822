"""Pre-training: an encoder from scratch by masked-language modelling, like the paper's rivals."""
