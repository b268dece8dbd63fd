"""Write a checkpoint as the GGUF file: `python export.py /tmp/guide oprel/bundled/guide.gguf`."""

import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from model import Guide, Shape
from tokenizer import CONTROL, END, MARKS, build, parts
from tokenizers import Tokenizer

TEMPLATE = Path(__file__).parent / "chat_template.jinja"
NAMES = {
    "attention_norm": "attn_norm", "attention.q": "attn_q", "attention.k": "attn_k", "attention.v": "attn_v",
    "attention.output": "attn_output", "ffn_norm": "ffn_norm", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down",
}  # fmt: skip


def tensor_name(name: str) -> str:
    match name.split("."):
        case ["embedding", "weight"]:
            return "token_embd.weight"
        case ["norm", "weight"]:
            return "output_norm.weight"
        case ["blocks", layer, *inner, "weight"]:
            return f"blk.{layer}.{NAMES['.'.join(inner)]}.weight"
    raise ValueError(name)


def add_shape(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("guide")
    writer.add_description("A tiny model that explains oprel, trained from scratch by tools/guide of oprel.")
    writer.add_license("apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary)


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    tokens, merges = parts(tokenizer)
    kinds = dict.fromkeys(CONTROL, gguf.TokenType.CONTROL) | dict.fromkeys(MARKS, gguf.TokenType.USER_DEFINED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token in tokens])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index(END))
    writer.add_bos_token_id(tokens.index(CONTROL[0]))
    writer.add_pad_token_id(tokens.index(CONTROL[0]))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE.read_text())


def export(folder: Path, target: Path, context: int = 1024) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    shape = Shape(tokenizer.get_vocab_size(), context=context)
    model = Guide(shape)
    model.load_state_dict(torch.load(folder / "guide.pt"))
    writer = gguf.GGUFWriter(str(target), "llama")
    add_shape(writer, shape)
    add_tokenizer(writer, tokenizer)
    for name, parameter in model.named_parameters():
        values = parameter.detach().numpy().astype(np.float32)
        if values.ndim == 1:
            writer.add_tensor(tensor_name(name), values)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(tensor_name(name), gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def is_gguf(path: Path | None) -> bool:
    return path is not None and path.suffix == ".gguf"


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a file that `export` wrote. Raises ValueError where its tokens would get other numbers."""
    fields = gguf.GGUFReader(path).fields
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = build(merges)
    if parts(tokenizer)[0] != fields["tokenizer.ggml.tokens"].contents():
        raise ValueError(f"{path} has another order of tokens")
    return tokenizer


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a file that `export` wrote, as a checkpoint has them."""
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    layers = sum(name.endswith("attn_q.weight") for name in tensors)
    names = [
        "embedding.weight",
        "norm.weight",
        *(f"blocks.{layer}.{inner}.weight" for layer in range(layers) for inner in NAMES),
    ]
    read = {name: tensors[tensor_name(name)] for name in names}
    values = {name: gguf.quants.dequantize(one.data, one.tensor_type) for name, one in read.items()}
    return {name: torch.from_numpy(np.array(value, dtype=np.float32)) for name, value in values.items()}


if __name__ == "__main__":
    source, path = Path(sys.argv[1]), Path(sys.argv[2])
    export(source, path)
    print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")
