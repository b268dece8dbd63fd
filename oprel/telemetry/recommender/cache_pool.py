"""The memory for conversations that no slot holds: how large it may be, and how an engine divides it. Pure.

llama.cpp saves a conversation when another one takes its slot (`server_prompt_cache` in tools/server/server-task.cpp),
within `--cache-ram`. Models with windows or recurrent states cannot go back in a conversation: each slot keeps up to
`--ctx-checkpoints` copies of these parts, which go into the cache with the conversation.
"""

from dataclasses import dataclass, replace

from oprel.telemetry.memory.estimator import MIB, Estimate

CONVERSATIONS = 2  # that the pool holds for each slot
MOST = 8 * 1024 * MIB  # llama-server's own default of the cache
SPARE_SHARE = 0.25  # of the memory that a plan leaves: more than that is kept for other models
MOST_CHECKPOINTS = 4


@dataclass(frozen=True, kw_only=True)
class CachePool:
    """What an engine may keep beside the caches of its slots, in bytes: `cache` of conversations, which it bounds.

    Each of the `slots` keeps up to `checkpoints` of `checkpoint` bytes; one turn makes some of `turn` bytes together.
    """

    slots: int
    checkpoint: int
    turn: int
    checkpoints: int = 0
    cache: int = 0

    @property
    def reserved(self) -> int:
        """The bound of it all."""
        return self.cache + self.slots * self.checkpoints * self.checkpoint

    @property
    def expected(self) -> int:
        """What the first turn in every slot takes."""
        return self.slots * min(self.turn, self.checkpoints * self.checkpoint)


def least_pool(memory: Estimate) -> CachePool:
    """The smallest pool: without a checkpoint, models with windows or states read every prompt from the beginning."""
    return CachePool(
        slots=memory.slots,
        checkpoint=memory.checkpoint,
        turn=sum(memory.checkpoints),
        checkpoints=1 if memory.checkpoint else 0,
    )


def largest_pool(memory: Estimate, spare: int) -> CachePool:
    """The best pool that takes at most `SPARE_SHARE` of `spare` bytes beyond the smallest, in whole MiB.

    Checkpoints come first: without them, a saved conversation of such a model is worth less.
    """
    least = least_pool(memory)
    limit = least.reserved + min(MOST, int(max(0, spare) * SPARE_SHARE))
    each = memory.slots * memory.checkpoint
    checkpoints = min(MOST_CHECKPOINTS, limit // each) if each else 0
    conversation = memory.conversation + checkpoints * memory.checkpoint
    cache = min(CONVERSATIONS * memory.slots * conversation, limit - checkpoints * each) // MIB * MIB
    return replace(least, checkpoints=max(least.checkpoints, checkpoints), cache=cache)
