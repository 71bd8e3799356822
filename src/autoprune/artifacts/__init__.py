"""What the user takes home: an exported model, its card, ONNX, a smaller vocabulary."""
