"""Train guide on the CPU: `python train.py --minutes 45 --out /tmp/guide`.

The folder gets tokenizer.json, guide.pt (a checkpoint every few minutes and the end) and log.txt. `--start` goes on
from a checkpoint, with a new schedule.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import data
import numpy as np
import tokenizer as own_tokenizer
import torch
from export import is_gguf, read_tokenizer, read_weights
from model import Guide, Shape
from muon import Muon
from tokenizers import Tokenizer
from torch import Tensor, distributed, multiprocessing
from torch.nn import functional as F

BATCH_TOKENS = 2048  # of each process
LONGEST = 900
CHUNK = 1024  # conversations that are sorted by length together
CHECKPOINT_SECONDS = 180
WARMUP, COOLDOWN = 0.02, 0.65  # shares of the time
LISTENING = 0.3  # share of the time in which reading counts; then what cannot be guessed in it is only noise
MUON_RATE, ADAM_RATE = 0.015, 0.004
HALVES = torch.cpu._is_avx512_bf16_supported()  # else bfloat16 takes ten times as long as float32

Batch = tuple[Tensor, Tensor]


def encoded(tokenizer: Tokenizer, rng: random.Random) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    while True:
        tokens, weights = own_tokenizer.encode(tokenizer, data.conversation(rng))
        if len(tokens) <= LONGEST:
            yield np.array(tokens, dtype=np.int64), np.array(weights, dtype=np.float32)


def batches(tokenizer: Tokenizer, seed: int) -> Iterator[Batch]:
    """Endless batches of conversations of like length, so that little is padding. No text comes twice by design."""
    rng = random.Random(seed)
    source = encoded(tokenizer, rng)
    while True:
        chunk = sorted((next(source) for _ in range(CHUNK)), key=lambda pair: len(pair[0]))
        groups: list[list[tuple[np.ndarray, np.ndarray]]] = [[]]
        for pair in chunk:
            if (len(groups[-1]) + 1) * len(pair[0]) > BATCH_TOKENS:
                groups.append([])
            groups[-1].append(pair)
        rng.shuffle(groups)
        yield from map(padded, groups)


def padded(group: list[tuple[np.ndarray, np.ndarray]]) -> Batch:
    """Padding is at the end, where causal attention lets nothing see it, and weighs nothing."""
    length = max(len(tokens) for tokens, _ in group)
    tokens, weights = torch.zeros(len(group), length, dtype=torch.long), torch.zeros(len(group), length)
    for row, (ids, scale) in enumerate(group):
        tokens[row, : len(ids)], weights[row, : len(ids)] = torch.from_numpy(ids), torch.from_numpy(scale)
    return tokens, weights


def loss_of(model: Guide, batch: Batch) -> Tensor:
    tokens, weights = batch
    scale = weights[:, 1:].flatten()
    kept = scale.nonzero().squeeze(1)
    scale, targets = scale[kept], tokens[:, 1:].flatten()[kept]
    with torch.autocast("cpu", torch.bfloat16, enabled=HALVES):
        logits = F.linear(model.hidden(tokens[:, :-1]).flatten(0, 1)[kept], model.embedding.weight)
    losses = F.cross_entropy(logits.float(), targets, reduction="none")
    return (losses * scale).sum() / scale.sum()


def optimizers(model: Guide, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices within the blocks, Adam for the embedding and the norms."""
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "embedding" not in name]
    others = [p for name, p in model.named_parameters() if p.dim() != 2 or "embedding" in name]
    muon = Muon(matrices, lr=MUON_RATE * rate, momentum=0.95, weight_decay=0.02)
    adam = torch.optim.AdamW(others, lr=ADAM_RATE * rate, betas=(0.9, 0.98), weight_decay=0.0)
    for optimizer in (muon, adam):
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return [muon, adam]


def rate_at(progress: float) -> float:
    """Warm up, stay, then fall linearly to nearly nothing."""
    return max(0.01, min(1.0, progress / WARMUP, (1 - progress) / COOLDOWN))


def attentive(batch: Batch, progress: float) -> Batch:
    """Early on, reading teaches copying; later it weighs nothing."""
    tokens, weights = batch
    if progress < LISTENING:
        return batch
    return tokens, torch.where(weights == torch.tensor(data.READ_WEIGHT), 0.0, weights)


def averaged(model: Guide, *figures: float) -> list[float]:
    """Make every process's gradients and `figures` their average. One exchange a step: no process waits in between."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), torch.tensor(figures)])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients] + [len(figures)]), strict=False):
        gradient.copy_(mean.view_as(gradient))
    return [float(value) for value in flat[-len(figures) :]]


def train(model: Guide, source: Iterator[Batch], args: argparse.Namespace) -> None:
    """Train for some minutes of wall time; the learning rate follows the clock."""
    started = saved = time.monotonic()
    passed = smooth = seen = 0.0
    steps = 0
    running = optimizers(model, args.rate)
    first = distributed.get_rank() == 0
    while passed < args.minutes * 60:
        batch = attentive(next(source), (passed / args.minutes / 60) if args.start is None else 1.0)
        loss = loss_of(model, batch)
        loss.backward()
        passed, mean, tokens = averaged(model, time.monotonic() - started, loss.item(), batch[0].numel())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in running:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate_at(passed / args.minutes / 60)
            optimizer.step()
            optimizer.zero_grad()
        steps, seen = steps + 1, seen + tokens * distributed.get_world_size()
        smooth = mean if steps == 1 else 0.98 * smooth + 0.02 * mean
        if first and steps % 25 == 0:
            speed = f"{seen / passed:.0f} tokens/s  {seen / 1e6:.2f} M"
            report(args.out, f"{passed:6.0f} s  step {steps}  loss {smooth:.4f}  {speed}")
        if first and time.monotonic() - saved > CHECKPOINT_SECONDS:
            save(model, args.out)
            saved = time.monotonic()
    if first:
        save(model, args.out)


def report(out: Path, line: str) -> None:
    with (out / "log.txt").open("a") as log:
        log.write(line + "\n")
    print(line, flush=True)


def save(model: Guide, out: Path) -> None:
    partial = out / "guide.pt.part"
    torch.save(model.state_dict(), partial)
    partial.replace(out / "guide.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train guide.")
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--out", type=Path, default=Path("/tmp/guide"))
    parser.add_argument("--start", type=Path, help="a checkpoint, or a guide.gguf, to go on from")
    parser.add_argument("--rate", type=float, default=1.0, help="factor of the learning rates")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "tokenizer.json"
    if not path.exists():
        tokenizer = read_tokenizer(args.start) if is_gguf(args.start) else own_tokenizer.make()
        tokenizer.save(str(path))
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(work, (args, Path(folder) / "meet"), args.processes)


def work(rank: int, args: argparse.Namespace, meeting: Path) -> None:
    """One process with one thread. Threads that wait for each other in every operation stall on a busy machine."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=args.processes)
    torch.manual_seed(args.seed)
    tokenizer = Tokenizer.from_file(str(args.out / "tokenizer.json"))
    model = Guide(Shape(tokenizer.get_vocab_size()))
    if args.start:
        model.load_state_dict(read_weights(args.start) if is_gguf(args.start) else torch.load(args.start))
    if rank == 0:
        report(args.out, f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {model.shape}")
    train(model, batches(tokenizer, args.seed * 1000 + rank), args)


if __name__ == "__main__":
    main()
