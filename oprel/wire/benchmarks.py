"""What `oprel bench run` measures: one JSON line of its history each, and its `--json`."""

from oprel.api_models import Wire


class Benchmark(Wire):
    """How fast a model was, in medians of `runs` runs. Speeds in tokens per second, times in seconds, sizes in bytes.

    `machine`: where its engine ran; `settings`: how, in words. `first_token_seconds`: from a short request to the first
    piece of its answer, the model being loaded. `memory_bytes` was measured, `expected_bytes` planned.
    """

    model: str
    digest: str
    quantization: str
    machine: str
    settings: str
    at: str
    runs: int
    prefill_speed: float
    decode_speed: float
    first_token_seconds: float
    load_seconds: float
    memory_bytes: int
    expected_bytes: int

    @property
    def subject(self) -> tuple[str, ...]:
        """What two benchmarks have in common that can be compared."""
        return self.model, self.digest, self.machine, self.settings


class ComparedBenchmark(Wire):
    """`previous`: the last benchmark of the same model with the same settings on the same machine."""

    benchmark: Benchmark
    previous: Benchmark | None = None


class BenchmarksResponse(Wire):
    benchmarks: list[ComparedBenchmark]
