"""What llama.cpp knows of architectures and no file says. One row where one differs from the rest.

Read in llama.cpp b11549: `load_arch_hparams` of src/models/*.cpp (windows, recurrent layers),
`llama_model::create_memory` in src/llama-model.cpp (which kind of cache), `llm_arch_is_recurrent` and
`llm_arch_is_hybrid` in src/llama-arch.cpp.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class Windows:
    """Layers that look back a limited way (SWA): all but every `period`-th, counted from the first if `dense_first`.

    A pattern in the file goes before `period`. `default` is the window, in tokens, where the file has none;
    `fixed` the one that is used whatever the file says. `only_layers`: models of another depth have no windows.
    """

    period: int = 1
    dense_first: bool = False
    default: int = 0
    fixed: int = 0
    only_layers: int = 0


# `Windows()` alone: the file has a pattern, or all layers see everything.
WINDOWS = {
    "afmoe": Windows(4),
    "cohere2": Windows(4),
    "cohere2moe": Windows(4, dense_first=True),
    "exaone-moe": Windows(4, default=128),
    "exaone4": Windows(4, default=4096, only_layers=64),
    "gemma2": Windows(2, default=4096),
    "gemma3": Windows(6),
    "gemma3n": Windows(5),
    "gemma4": Windows(),
    "gpt-oss": Windows(2),
    "granite_swa": Windows(),
    "laguna": Windows(4, dense_first=True),
    "lfm2": Windows(0),  # every layer that attends
    "llama4": Windows(4, default=8192, fixed=8192),
    "maple": Windows(),
    "mellum": Windows(4),
    "mimo2": Windows(),
    "muse-glimmer": Windows(4),
    "olmo2": Windows(4),
    "plamo3": Windows(8),
    "smallthinker": Windows(4, dense_first=True, fixed=4096),
    "spark2_5": Windows(),
    "step35": Windows(),
}


class Recurrence(Enum):
    """Which layers keep a state of fixed size instead of keys and values."""

    NONE = "none"
    ALL = "all"
    WITHOUT_HEADS = "those without KV heads"
    WITHOUT_HEADS_OR_FEED_FORWARD = "those with neither KV heads nor feed-forward; those with one of them keep nothing"
    INTERVAL = "those the file names, else all but every n-th"
    BESIDE_ATTENTION = "all, and keys and values too"


RECURRENCE = {
    **dict.fromkeys(("mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"), Recurrence.ALL),
    **dict.fromkeys(
        (
            "bailingmoe3",
            "glm5-next",
            "granitehybrid",
            "jamba",
            "kimi-k3",
            "kimi-linear",
            "lfm2",
            "lfm2moe",
            "plamo2",
        ),
        Recurrence.WITHOUT_HEADS,
    ),
    **dict.fromkeys(("nemotron_h", "nemotron_h_moe"), Recurrence.WITHOUT_HEADS_OR_FEED_FORWARD),
    **dict.fromkeys(("minimax-01", "qwen35", "qwen35moe", "qwen3next", "qwen4exp"), Recurrence.INTERVAL),
    "falcon-h1": Recurrence.BESIDE_ATTENTION,
}

# Nothing is kept from one token to the next.
WITHOUT_CACHE = frozenset(
    {
        "bert",
        "dream",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "llada",
        "llada-moe",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "rnd1",
        "wavtokenizer-dec",
    }
)

# Sparse attention: a second cache of keys, by which cells are chosen. With the main cache's kind of values, if any.
INDEXED = frozenset({"deepseek32", "glm-dsa", "hy_v4", "minimax-m3"})
INDEXED_BY_KEYS = frozenset({"glm5-next", "qwen4exp"})

# Their caches are built unlike all others (src/llama-kv-cache-dsv4.cpp, -dsa-iswa.cpp, cross attention): too rough.
ROUGH = frozenset({"deepseek4", "dflash", "dots3note", "gemma4-assistant", "t5"})

# Experts are given what is already weighted, and so each a vector of its own (`build_moe_ffn` in src/llama-graph.cpp).
WEIGHTED_FIRST = frozenset({"llama4"})

WITHOUT_FLASH_ATTENTION = frozenset({"grok"})
