"""Vectors, scores and tokens, from an engine in memory: its vectors are the lengths of the inputs."""

from dataclasses import replace

import pytest

from oprel.core.completion import Embeddings, LoadOptions, Mode
from oprel.core.exceptions import ContextLengthError, QuarantinedError, UnsupportedError
from oprel.server.inference import embeddings
from oprel.server.inference.embeddings import PORTION, PORTION_SIZE, EmbedJob, Input, RerankJob, portions
from oprel.server.models.installed_model import InstalledModel
from oprel.server.pool.load_decision import JOINED
from tests.fixtures.memory_engine import MemoryEngine, token_of, tokens_of
from tests.fixtures.pool import EMBEDDER, MODEL, RERANKER, MakePool, MemoryPool

EIGHT = LoadOptions(num_ctx=8)
LONG = "a b c d e f g h i j"


async def vectors(pool: MemoryPool, *inputs: str | tuple[int, ...], truncate: bool = True) -> Embeddings:
    made, _ = await embeddings.embed(pool.manager, EmbedJob(EMBEDDER, inputs, EIGHT, truncate=truncate))
    return made


async def test_every_input_has_a_vector(pool: MemoryPool) -> None:
    assert await vectors(pool, "a", "b c", (1, 2, 3)) == Embeddings(((1.0,), (2.0,), (3.0,)), 6)
    assert pool.loaded("embedder").spec.mode is Mode.EMBEDDING


async def test_an_input_that_is_too_long_is_cut_and_others_stay(pool: MemoryPool) -> None:
    assert await vectors(pool, LONG, "a b") == Embeddings(((8.0,), (2.0,)), 10)


async def test_only_an_input_that_may_be_too_long_is_tokenized(pool: MemoryPool) -> None:
    await vectors(pool, LONG, "a", (1, 2))
    assert pool.engines[0].embedded == [tokens_of(LONG)[:8], "a", (1, 2)]


@pytest.mark.parametrize(
    ("inputs", "lengths"),
    [
        (["a"], [1]),
        (["a"] * PORTION, [PORTION]),
        (["a"] * (2 * PORTION + 1), [PORTION, PORTION, 1]),
        (["a", "b" * PORTION_SIZE, "c", "d"], [1, 1, 2]),
        ([(1,) * PORTION_SIZE, (2,)], [1, 1]),
    ],
)
def test_inputs_are_asked_for_in_portions(inputs: list[Input], lengths: list[int]) -> None:
    made = list(portions(inputs))
    assert [len(part) for part in made] == lengths
    assert [item for part in made for item in part] == inputs


async def test_what_was_embedded_before_the_engine_died_is_not_asked_again(make_pool: MakePool) -> None:
    engine = MemoryEngine()
    pool = make_pool(engine)
    await vectors(pool, "a")
    engine.dies_at_calls = 1
    assert len((await vectors(pool, *["a"] * PORTION, "b")).vectors) == PORTION + 1
    assert engine.embedded == ["b"]


async def test_more_requests_are_in_an_engine_that_embeds_than_it_has_slots(pool: MemoryPool) -> None:
    await vectors(pool, "a")
    loaded, (status,) = pool.loaded("embedder"), pool.manager.statuses()
    assert loaded.slots.total == JOINED > loaded.spec.parallel == status.slots


async def test_tokens_are_cut_as_text_is(pool: MemoryPool) -> None:
    assert (await vectors(pool, tuple(tokens_of(LONG)))).vectors == ((8.0,),)


async def test_an_input_that_must_not_be_cut_is_refused(pool: MemoryPool) -> None:
    with pytest.raises(ContextLengthError, match="the input length exceeds the context length"):
        await vectors(pool, LONG, truncate=False)


async def test_no_input_only_loads(pool: MemoryPool) -> None:
    assert await vectors(pool) == Embeddings((), 0)
    assert pool.names == ["embedder"]


async def test_embeddings_of_a_chat_model_have_an_engine_of_their_own(pool: MemoryPool) -> None:
    await pool.load(MODEL)
    await embeddings.embed(pool.manager, EmbedJob(MODEL, ("a",)))
    assert [loaded.spec.mode for loaded in pool.manager.loaded] == [Mode.COMPLETION, Mode.EMBEDDING]


async def test_a_model_that_only_scores_makes_no_vectors(pool: MemoryPool) -> None:
    with pytest.raises(UnsupportedError, match='"reranker" does not support embed'):
        await embeddings.embed(pool.manager, EmbedJob(RERANKER, ("a",)))
    assert not pool.engines


async def test_vectors_survive_the_death_of_the_engine(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(dies_at_calls=1))
    assert (await vectors(pool, "a")).vectors == ((1.0,),)
    assert pool.engines[0].starts == 2 and pool.loaded("embedder").slots.in_use == 0


async def test_inputs_that_end_two_engines_are_quarantined(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(dies_at_calls=2))
    for _ in range(2):
        with pytest.raises(QuarantinedError):
            await vectors(pool, "poison")
    assert (await vectors(pool, "other")).vectors == ((1.0,),)


async def test_documents_are_scored(pool: MemoryPool) -> None:
    scores = await embeddings.rerank(pool.manager, RerankJob(RERANKER, "sea", ("the sea", "a hill")))
    assert scores.values == (1.0, 0.0)
    assert pool.loaded("reranker").spec.mode is Mode.RERANK


@pytest.mark.parametrize("model", [MODEL, EMBEDDER], ids=lambda model: model.name)
async def test_only_a_model_that_was_made_for_it_scores(pool: MemoryPool, model: InstalledModel) -> None:
    job = RerankJob(RERANKER, "sea", ("the sea",))
    with pytest.raises(UnsupportedError, match="does not support rerank"):
        await embeddings.rerank(pool.manager, replace(job, model=model))


async def test_text_becomes_tokens_and_text_again(pool: MemoryPool) -> None:
    tokens = await embeddings.tokenize(pool.manager, MODEL, "one two", special=True)
    assert tokens == [token_of("one "), token_of("two")]
    assert await embeddings.detokenize(pool.manager, MODEL, tokens) == "one two"


async def test_tokens_need_no_slot(make_pool: MakePool) -> None:
    pool = make_pool(parallel=1)
    await pool.caller(MODEL)
    assert await embeddings.tokenize(pool.manager, MODEL, "one", special=False)


async def test_tokens_of_an_embedding_model_come_from_the_engine_that_embeds(pool: MemoryPool) -> None:
    await embeddings.embed(pool.manager, EmbedJob(EMBEDDER, ("a",)))
    await embeddings.tokenize(pool.manager, EMBEDDER, "one", special=False)
    assert len(pool.engines) == 1
