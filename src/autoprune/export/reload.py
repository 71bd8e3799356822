"""Reloading: load a model folder with plain transformers, as any user would, and use it.

Also run as a script: it reads arguments from standard input and writes the result to standard
output, both JSON. So this module imports nothing of autoprune.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    pipeline,
)

# Rows that are padded together. A convolution over padding depends on how much there is.
RELOAD_BATCH = 16

SINGLE_TEXTS = 4  # rows that go through the pipeline, one by one


def reload_logits(
    folder: str, texts: Sequence[str], pairs: Sequence[str] | None, probes: Sequence[str]
) -> dict[str, Any]:
    """Load model and tokenizer from `folder`, run them on the rows, and return values for JSON.

    `report` holds transformers' complaints about names and shapes of weights, `labels` the names in
    index order, `numbers` the index by name, `ids` the tokens of each row and then of each probe,
    `logits` (rows, classes), or (tokens, classes) where each token has a label, `pipeline` what the
    pipeline says of the first rows: token, label and probability, `weights` a digest of each
    weight, `tokenizer` its traits.
    """
    classes = AutoConfig.from_pretrained(folder).architectures or ()
    by_token = any(name.endswith("ForTokenClassification") for name in classes)
    kind = AutoModelForTokenClassification if by_token else AutoModelForSequenceClassification
    loaded: Any = kind.from_pretrained(
        # A wrong shape would raise an error without the weight's name; so it is only reported.
        folder,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        trust_remote_code=False,
    )
    model, report = loaded
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    single = [
        (text, pairs[row] if pairs else None) for row, text in enumerate(texts[:SINGLE_TEXTS])
    ]
    if by_token:
        tag: Any = pipeline("token-classification", model=model, tokenizer=tokenizer, device="cpu")
        answers = [tag(text) for text, _ in single]
    else:
        classify: Any = pipeline(
            "text-classification", model=model, tokenizer=tokenizer, device="cpu", top_k=None
        )
        answers = [
            classify({"text": text, "text_pair": pair}, truncation=True) for text, pair in single
        ]
    return {
        "report": {name: sorted(map(str, keys)) for name, keys in report.items() if keys},
        "labels": [model.config.id2label.get(index) for index in range(model.config.num_labels)],
        "numbers": model.config.label2id,
        "ids": token_ids(tokenizer, texts, pairs) + token_ids(tokenizer, probes, None),
        "logits": _logits(model, tokenizer, texts, pairs),
        "pipeline": [
            [
                [each.get("index", 0), each.get("label", each.get("entity")), float(each["score"])]
                for each in answer
            ]
            for answer in answers
        ],
        "weights": weight_digests(model),
        "tokenizer": tokenizer_traits(tokenizer),
    }


def format_logits(
    folder: str, file: str, texts: Sequence[str], pairs: Sequence[str] | None
) -> dict[str, Any]:
    """Return the logits (rows, classes) of a model file on the rows, from its own runtime.

    `file` is an ONNX model (.onnx) or one of OpenVINO (.xml), `folder` has its tokenizer.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    run = _open_openvino(file) if file.endswith(".xml") else _open_onnx(file)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    logits: dict[int, list[float]] = {}
    for start in range(0, len(order), RELOAD_BATCH):
        rows = order[start : start + RELOAD_BATCH]
        second = [pairs[row] for row in rows] if pairs else None
        batch = tokenizer(
            [texts[row] for row in rows], second, padding=True, truncation=True, return_tensors="np"
        )
        found = run({name: batch[name].astype("int64") for name in batch})
        logits |= zip(rows, found.tolist(), strict=True)
    return {"logits": [logits[row] for row in range(len(texts))]}


def _open_onnx(file: str) -> Callable[[Mapping[str, Any]], Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in session.get_inputs()]
    return lambda tokens: session.run(["logits"], {name: tokens[name] for name in names})[0]


def _open_openvino(file: str) -> Callable[[Mapping[str, Any]], Any]:
    import openvino

    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = [tensor.any_name for tensor in compiled.inputs]
    return lambda tokens: compiled({name: tokens[name] for name in names})[0]


def token_ids(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], pairs: Sequence[str] | None
) -> list[list[int]]:
    """Return the tokens of each row, with special ones, truncated as the tokenizer does it."""
    rows: list[list[int]] = tokenizer(
        list(texts), None if pairs is None else list(pairs), truncation=True
    )["input_ids"]
    return rows


def tokenizer_traits(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the properties of a tokenizer that the tokens of a few rows do not show."""
    return {
        "fast": tokenizer.is_fast,
        "longest": tokenizer.model_max_length,
        "padding": [tokenizer.pad_token_id, tokenizer.padding_side],
        "truncation": tokenizer.truncation_side,
        "vocabulary": len(tokenizer),
        "special": dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)),
    }


def weight_digests(model: PreTrainedModel) -> dict[str, str]:
    """Return type, shape and SHA-256 of each weight by its name."""
    return {
        name: f"{weight.dtype} {tuple(weight.shape)} {_digest(weight)}"
        for name, weight in model.state_dict().items()
    }


def _digest(weight: torch.Tensor) -> str:
    flat = weight.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().data).hexdigest()


def _logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
) -> list[list[float]]:
    logits: list[list[float]] = []
    for start in range(0, len(texts), RELOAD_BATCH):
        rows = slice(start, start + RELOAD_BATCH)
        second = None if pairs is None else list(pairs[rows])
        batch = tokenizer(
            list(texts[rows]), second, padding=True, truncation=True, return_tensors="pt"
        )
        with torch.inference_mode():
            output = model(**batch).logits.float()
        if output.ndim == 3:  # of each token: (rows, longest, classes) -> (tokens, classes)
            output = output[batch["attention_mask"].bool()]
        logits += output.tolist()
    return logits


def main() -> None:
    """Read the arguments of one of the two functions by name; write its result, or its error."""
    out = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not get into the result
    try:
        arguments = json.load(sys.stdin)
        function = format_logits if "file" in arguments else reload_logits
        result = function(**arguments)
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    with os.fdopen(out, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
