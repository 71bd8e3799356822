"""Pre-training: masked-language modelling of an encoder from scratch."""
