"""The widths of a model's layers, read from its tensors, which are always there, unlike metadata."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from oprel.formats.gguf import GGUFFile, Tensor

LAYER = re.compile(r"blk\.(\d+)\.(.+?)(?:\.weight)?$")


class Mixer(Enum):
    """The kinds of recurrent layers whose steps are known."""

    MAMBA = "mamba"
    MAMBA_2 = "mamba 2"
    DELTA = "gated delta net"


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Elements per token: `dense` of a whole feed-forward, `expert` of one expert, `query` of the query projection,
    `input` of the widest matrix.

    `parallel`: attention and feed-forward have the same input. `normed_twice`: the output of the feed-forward is normed
    again. `gated_attention`: queries come with a gate.
    """

    dense: int = 0
    expert: int = 0
    gated_experts: bool = True
    query: int = 0
    input: int = 0
    parallel: bool = False
    normed_twice: bool = False
    gated_attention: bool = False
    mixer: Mixer | None = None


def widths_of(header: GGUFFile) -> Widths:
    """The widths of the widest layers of a model."""
    layers: dict[int, dict[str, Tensor]] = {}
    for tensor in header.tensors:
        if match := LAYER.match(tensor.name):
            layers.setdefault(int(match[1]), {})[match[2]] = tensor
    names = frozenset().union(*layers.values())
    return Widths(
        dense=_widest(layers, _dense),
        expert=_widest(layers, lambda layer: layer["ffn_down_exps"].shape[0] if "ffn_down_exps" in layer else 0),
        gated_experts=bool(names & {"ffn_gate_exps", "ffn_gate_up_exps"}),
        query=_widest(layers, lambda layer: layer["attn_q"].shape[-1] if "attn_q" in layer else 0),
        input=_widest(layers, _input),
        parallel=any(_is_parallel(layer) for layer in layers.values()),
        normed_twice={"post_ffw_norm", "ffn_norm"} <= names,
        gated_attention=bool(names & {"ssm_ba", "ssm_beta"}),
        mixer=_mixer(names),
    )


def _widest(layers: dict[int, dict[str, Tensor]], width: Callable[[dict[str, Tensor]], int]) -> int:
    return max((width(layer) for layer in layers.values()), default=0)


def _dense(layer: dict[str, Tensor]) -> int:
    """With a gate (also as one tensor with up), both and their product are alive; without it, one tensor in place."""
    if "ffn_down" not in layer or "ffn_up" not in layer:
        return 0
    inner, up = layer["ffn_down"].shape[0], layer["ffn_up"].shape[-1]
    return 3 * inner if "ffn_gate" in layer or up > inner else inner


def _input(layer: dict[str, Tensor]) -> int:
    return max((tensor.shape[0] for tensor in layer.values() if len(tensor.shape) > 1), default=0)


def _is_parallel(layer: dict[str, Tensor]) -> bool:
    """Whether there is no norm between attention and feed-forward."""
    both = {"attn_output", "ffn_down", "attn_norm"} <= layer.keys()
    return both and not layer.keys() & {"ffn_norm", "post_attention_norm", "attn_output_norm", "layer_output_norm"}


def _mixer(names: frozenset[str]) -> Mixer | None:
    if names & {"ssm_ba", "ssm_beta"}:
        return Mixer.DELTA
    if "ssm_x" in names:
        return Mixer.MAMBA
    return Mixer.MAMBA_2 if "ssm_in" in names else None
