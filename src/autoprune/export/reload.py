"""Reloading: a model folder loaded by plain transformers, as any user would, and what it answers.

Also run as a script of its own: it reads a question from standard input and writes the answer to
standard output, both JSON. So nothing of autoprune is imported here.
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    pipeline,
)

RELOAD_BATCH = (
    16  # rows that are padded together; a convolution over padding sees how much there is
)

SINGLE_TEXTS = 4  # rows that go through the pipeline, one by one


def reload_logits(
    folder: str, texts: Sequence[str], pairs: Sequence[str] | None, probes: Sequence[str]
) -> dict[str, Any]:
    """Load the model and tokenizer in `folder` and return what they make of the rows, for JSON.

    `trouble` has what transformers says of the weights' names and shapes, `labels` the names in
    index order, `ids` the tokens of each row and then of each probe, `logits` (rows, classes),
    `said` label and probability of the first rows from the pipeline, `weights` a digest of each
    weight, `tokenizer` what it cuts and pads with.
    """
    loaded: Any = AutoModelForSequenceClassification.from_pretrained(
        # A misfit would end the loading without a name; so it is reported, and refused by name.
        folder,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        trust_remote_code=False,
    )
    model, report = loaded
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    few = [(text, pairs[row] if pairs else None) for row, text in enumerate(texts[:SINGLE_TEXTS])]
    classify: Any = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    said = [classify({"text": text, "text_pair": pair}, truncation=True) for text, pair in few]
    return {
        "trouble": {name: sorted(map(str, keys)) for name, keys in report.items() if keys},
        "labels": [model.config.id2label.get(place) for place in range(model.config.num_labels)],
        "numbers": model.config.label2id,
        "ids": token_ids(tokenizer, texts, pairs) + token_ids(tokenizer, probes, None),
        "logits": _logits(model, tokenizer, texts, pairs),
        "said": [[answer["label"], answer["score"]] for answer in said],
        "weights": weight_digests(model),
        "tokenizer": tokenizer_traits(tokenizer),
    }


def token_ids(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], pairs: Sequence[str] | None
) -> list[list[int]]:
    """Return the tokens of each row, special ones included, cut as the tokenizer itself cuts."""
    rows: list[list[int]] = tokenizer(
        list(texts), None if pairs is None else list(pairs), truncation=True
    )["input_ids"]
    return rows


def tokenizer_traits(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return what of a tokenizer the tokens of some rows do not show."""
    return {
        "fast": tokenizer.is_fast,
        "longest": tokenizer.model_max_length,
        "padding": [tokenizer.pad_token_id, tokenizer.padding_side],
        "cut": tokenizer.truncation_side,
        "vocabulary": len(tokenizer),
        "special": dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)),
    }


def weight_digests(model: PreTrainedModel) -> dict[str, str]:
    """Return kind, shape and SHA-256 of each weight by its name."""
    return {
        name: f"{weight.dtype} {tuple(weight.shape)} {_digest(weight)}"
        for name, weight in model.state_dict().items()
    }


def _digest(weight: torch.Tensor) -> str:
    whole = weight.detach().cpu().contiguous()
    return hashlib.sha256(whole.reshape(-1).view(torch.uint8).numpy().data).hexdigest()


def _logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
) -> list[list[float]]:
    found: list[list[float]] = []
    for start in range(0, len(texts), RELOAD_BATCH):
        rows = slice(start, start + RELOAD_BATCH)
        second = None if pairs is None else list(pairs[rows])
        batch = tokenizer(
            list(texts[rows]), second, padding=True, truncation=True, return_tensors="pt"
        )
        with torch.inference_mode():
            found += model(**batch).logits.float().tolist()  # (rows, classes)
    return found


def main() -> None:
    """Answer one question: the arguments of `reload_logits` by name; a failure is an answer too."""
    out = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints does not get into the answer
    try:
        answer = reload_logits(**json.load(sys.stdin))
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    with os.fdopen(out, "w", encoding="utf-8") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main()
