"""Facts about architectures that llama.cpp hard-codes and no model file contains. Only exceptions have a row.

Read from llama.cpp b11549: `load_arch_hparams` in src/models/*.cpp (windows, recurrent layers),
`llama_model::create_memory` in src/llama-model.cpp (kind of cache), `llm_arch_is_recurrent` and `llm_arch_is_hybrid`
in src/llama-arch.cpp.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Which layers have sliding-window attention (SWA): all but every `period`-th.

    `dense_first`: the first layer of each period is the one without a window, not the last. A pattern in the file
    takes precedence over `period`. `default` is the window in tokens if the file has none, `fixed` the window used
    whatever the file says. `only_layers`: models with another number of layers have no windows.
    """

    period: int = 1
    dense_first: bool = False
    default: int = 0
    fixed: int = 0
    only_layers: int = 0


# `Windows()` without arguments: the file has a pattern, or no layer has a window.
WINDOWS = {
    "afmoe": Windows(period=4),
    "cohere2": Windows(period=4),
    "cohere2moe": Windows(period=4, dense_first=True),
    "exaone-moe": Windows(period=4, default=128),
    "exaone4": Windows(period=4, default=4096, only_layers=64),
    "gemma2": Windows(period=2, default=4096),
    "gemma3": Windows(period=6),
    "gemma3n": Windows(period=5),
    "gemma4": Windows(),
    "gpt-oss": Windows(period=2),
    "granite_swa": Windows(),
    "laguna": Windows(period=4, dense_first=True),
    "lfm2": Windows(period=0),  # every attention layer
    "llama4": Windows(period=4, default=8192, fixed=8192),
    "maple": Windows(),
    "mellum": Windows(period=4),
    "mimo2": Windows(),
    "muse-glimmer": Windows(period=4),
    "olmo2": Windows(period=4),
    "plamo3": Windows(period=8),
    "smallthinker": Windows(period=4, dense_first=True, fixed=4096),
    "spark2_5": Windows(),
    "step35": Windows(),
}


class Recurrence(Enum):
    """Which layers keep a state of fixed size instead of keys and values."""

    NONE = "none"
    ALL = "all"
    WITHOUT_HEADS = "those without KV heads"
    WITHOUT_HEADS_OR_FEED_FORWARD = "those with neither KV heads nor feed-forward; feed-forward layers keep nothing"
    INTERVAL = "those listed in the file, else all but every n-th"
    BESIDE_ATTENTION = "all, in addition to keys and values"


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

# Models that keep nothing from one token to the next.
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

# Sparse attention: a second cache of keys selects the cells. INDEXED also have values like those of the main cache.
INDEXED = frozenset({"deepseek32", "glm-dsa", "hy_v4", "minimax-m3"})
INDEXED_BY_KEYS = frozenset({"glm5-next", "qwen4exp"})

# Their caches differ from all others (src/llama-kv-cache-dsv4.cpp, -dsa-iswa.cpp, cross attention): a rough estimate.
ROUGH = frozenset({"deepseek4", "dflash", "dots3note", "gemma4-assistant", "t5"})

# Inputs are weighted before the experts: each expert gets a vector of its own (`build_moe_ffn` in src/llama-graph.cpp).
WEIGHTED_FIRST = frozenset({"llama4"})

WITHOUT_FLASH_ATTENTION = frozenset({"grok"})
