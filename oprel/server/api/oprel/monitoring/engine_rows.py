"""The engines as clients see them."""

from oprel.core.completion import Mode
from oprel.server.api.common.encode import expiry
from oprel.server.pool.admission import WaitingForMemory
from oprel.server.pool.engine_status import EngineStatus
from oprel.telemetry.calibration.learning import Buffers
from oprel.telemetry.memory.estimator import Estimate
from oprel.wire import daemon as wire


def engine_row(status: EngineStatus) -> wire.EngineModel:
    snapshot, last = status.snapshot, status.snapshot.last_exit
    return wire.EngineModel(
        name=status.latest.name,
        names=list(status.names),
        path=str(status.spec.files.weights),
        state=snapshot.state.value,
        pid=snapshot.pid,
        address=snapshot.address,
        engine=str(snapshot.binary) if snapshot.binary else None,
        embedding=status.spec.mode is Mode.EMBEDDING,
        context_length=status.num_ctx,
        in_flight=status.in_flight,
        slots=status.slots,
        threads=status.threads.single,
        batch_threads=status.threads.batch,
        reasons=list(status.reasons),
        slots_taken=status.slots_taken,
        queued=status.queued,
        tokens_per_second=status.tokens_per_second,
        memory_bytes=snapshot.memory_bytes,
        expected_bytes=status.expected_bytes,
        predicted_bytes=status.reserved_bytes,
        host_bytes=status.reserved_host_bytes,
        gpu_bytes=dict(status.gpu_bytes),
        device_bytes=dict(status.gpu_use.bytes) if status.gpu_use else {},
        gpu_share=status.gpu_share,
        predicted=_predicted(status.estimate),
        measured=_measured(status.buffers) if status.buffers else None,
        load_seconds=snapshot.load_seconds,
        restarts=max(0, snapshot.starts - 1),
        pinned=status.pinned,
        adjustments=list(status.adjustments),
        expires_at=expiry(status),
        last_exit=f"{last.reason.value}: {last.detail}" if last else None,
    )


def _predicted(estimate: Estimate) -> wire.BufferSizes:
    return wire.BufferSizes(
        weights=estimate.weights_bytes,
        kv=estimate.kv_bytes,
        state=estimate.state_bytes,
        compute=estimate.compute_bytes,
        output=estimate.output_bytes,
    )


def _measured(buffers: Buffers) -> wire.BufferSizes:
    return wire.BufferSizes(
        weights=buffers.weights,
        kv=buffers.kv,
        state=buffers.state,
        compute=buffers.compute,
        output=buffers.output,
    )


def waiting_row(model: WaitingForMemory) -> wire.WaitingModel:
    return wire.WaitingModel(name=model.name, bytes=model.needs.total, seconds=round(model.seconds, 3), why=model.why)
