"""Export: final training, verification, model card, ONNX, a smaller vocabulary, predictions."""
