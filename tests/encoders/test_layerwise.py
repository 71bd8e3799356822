"""Layer-by-layer forward pass: equals the pruned model in all families and layouts."""

import copy
from itertools import combinations

import pytest
import torch

from autoprune.encoders.layerwise import LayerStack, first_token_only
from autoprune.encoders.loading import load_classifier
from autoprune.encoders.pruning import check_layout, encoder_layers, keep_layers
from autoprune.encoders.registry import Encoder, EncoderFiles
from autoprune.errors import LayoutError
from autoprune.layouts.layout import Layout
from tiny_models import save_model

DEPTH = 4
# ConvBERT's convolutions choose their way by where a tensor lies in memory: the same pruned model,
# run twice on the same batch, differs as much.
ROUNDED = {"convbert"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a function that loads a jittered classifier of a family, once."""
    made = {}

    def whole(family, jitter):
        if family not in made:
            folder = save_model(family, tmp_path_factory.mktemp(family), num_hidden_layers=DEPTH)
            checkpoint = EncoderFiles(Encoder("tiny", str(folder)), folder, "", DEPTH)
            made[family] = load_classifier(checkpoint, ["a", "b", "c"], 0)
            jitter(made[family])
        return made[family]

    return whole


@pytest.fixture
def inputs():
    """Return three rows of unlike lengths, padded."""
    ids = torch.randint(5, 15, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(9) < torch.tensor([[9], [7], [4]])).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def layouts_for(model):
    """Return all layouts that the family can have."""
    every = [Layout(DEPTH, keep) for k in range(1, 5) for keep in combinations(range(DEPTH), k)]
    fitting = []
    for layout in every:
        try:
            check_layout(model, layout)
        except LayoutError:
            continue
        fitting.append(layout)
    return fitting


def pruned_logits(model, layout, inputs):
    pruned = copy.deepcopy(model)
    keep_layers(pruned, layout)
    return pruned(**inputs).logits


def test_layer_stack_gives_the_logits_of_the_pruned_model(family, whole, jitter, inputs):
    model = whole(family, jitter)
    layouts = layouts_for(model)
    assert len(layouts) == (8 if family == "modernbert" else 15)
    tolerance = 1e-6 if family in ROUNDED else 0.0
    with torch.inference_mode():
        stack = LayerStack(model, inputs)
        for layout in layouts:
            state = None
            for layer in layout.keep:
                state = stack.run_layer(state, layer)
            wanted = pruned_logits(model, layout, inputs)
            torch.testing.assert_close(stack.logits(state), wanted, atol=tolerance, rtol=0)


def test_layer_stack_restores_the_model_after_an_error(whole, jitter, inputs):
    model = whole("bert", jitter)
    layers = encoder_layers(model)
    with torch.inference_mode():
        before = model(**inputs).logits
        stack = LayerStack(model, inputs)
        with pytest.raises(TypeError):
            stack.logits("no state")
        assert encoder_layers(model) is layers
        assert torch.equal(model(**inputs).logits, before)
        shorter = {name: part[:, :4] for name, part in inputs.items()}
        assert not torch.equal(model(**shorter).logits, before)


SHORT = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie")


@pytest.mark.parametrize("family", [*SHORT, "distilbert", "deberta-v2", "mpnet", "modernbert"])
def test_last_layer_of_the_first_token_gives_the_same_logits_and_gradients(
    family, whole, jitter, inputs
):
    model, shapes = copy.deepcopy(whole(family, jitter)), []
    layer = encoder_layers(model)[-1]
    layer.register_forward_hook(
        lambda _, __, output: shapes.append((output[0] if type(output) is tuple else output).shape)
    )

    def gradients():
        model.eval()
        model.zero_grad()
        logits = model(**inputs).logits
        logits.square().sum().backward()
        return logits, {n: w.grad for n, w in model.named_parameters() if w.grad is not None}

    expected = gradients()
    with first_token_only(model, {name: values[:2] for name, values in inputs.items()}):
        found = gradients()
        assert shapes[-1][1] == (1 if family in SHORT else inputs["input_ids"].shape[1])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    model(**inputs)
    assert shapes[-1][1] == inputs["input_ids"].shape[1]


def test_last_layer_of_the_first_token_is_not_used_by_a_head_of_all_tokens(whole, jitter, inputs):
    model = copy.deepcopy(whole("bert", jitter))
    model.bert.pooler.forward = lambda hidden: hidden.mean(dim=1)
    with first_token_only(model, inputs):
        assert model.bert(**inputs).last_hidden_state.shape[1] == inputs["input_ids"].shape[1]
