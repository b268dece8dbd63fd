"""What the names in a repository tell. The names are those of real repositories."""

import pytest

from oprel.core.variants import RepoFile, bits_per_weight, folder_files, named, projector_of, quantization_of, variants

MIB = 1024**2


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("llama-2-7b.Q4_K_M.gguf", "Q4_K_M"),
        ("Meta-Llama-3.1-8B-Instruct-IQ2_M.gguf", "IQ2_M"),
        ("google_gemma-3-27b-it-IQ4_XS.gguf", "IQ4_XS"),
        ("Qwen3-30B-A3B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("X.i1-Q4_K_M.gguf", "Q4_K_M"),
        ("X-Q4_K_M-imat.gguf", "Q4_K_M"),
        ("X-imat-Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", "Q4_K_M"),
        ("UD-Q2_K_XL/DeepSeek-R1-UD-Q2_K_XL-00001-of-00005.gguf", "UD-Q2_K_XL"),
        ("Q8_0/X-Q8_0-00001-of-00003.gguf", "Q8_0"),
        ("X-Q6_K_L.gguf", "Q6_K_L"),
        ("X-Q3_K_XL.gguf", "Q3_K_XL"),
        ("X-Q8_K_XL.gguf", "Q8_K_XL"),
        ("X-Q2_K_L.gguf", "Q2_K_L"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4_MOE"),
        ("X-MXFP4_MOE.gguf", "MXFP4_MOE"),
        ("X-fp16.gguf", "F16"),
        ("X.f16.gguf", "F16"),
        ("X-BF16.gguf", "BF16"),
        ("X-F32.gguf", "F32"),
        ("X-TQ1_0.gguf", "TQ1_0"),
        ("X-Q4_0_4_8.gguf", "Q4_0_4_8"),
        ("Q-9B-Q4_K_P.gguf", "Q4_K_P"),
        ("Phi-3-mini-4k-instruct-q4.gguf", "Q4"),
        ("L_V2_Q8.gguf", "Q8"),
        ("x_q4_k_m_imat.gguf", "Q4_K_M"),
        ("mmproj-X-f16.gguf", "F16"),
        ("X-IQ4_KS.gguf", "IQ4_KS"),
        ("X-IQ2_K_R4-00001-of-00005.gguf", "IQ2_K"),
        ("X-smol-IQ1_KT.gguf", "IQ1_KT"),
        ("ggml-model-q4_0.gguf", "Q4_0"),
        ("Q5_K_M/model.gguf", "Q5_K_M"),
        ("model.gguf", None),
    ],
)
def test_a_quantization_is_read_from_a_name(path: str, expected: str | None) -> None:
    assert quantization_of(path) == expected


def test_shards_are_one_variant_and_what_is_no_model_is_none() -> None:
    names = ["a-Q8_0-00002-of-00002.gguf", "a-Q8_0-00001-of-00002.gguf", "a-Q4_K_M.gguf"]
    others = ["mmproj-a-F16.gguf", "a.imatrix.gguf", "mtp-a-Q8_0.gguf", "README.md", "a.Q8_0.gguf.part1of2"]
    found = variants(RepoFile(name, MIB) for name in names + others)
    assert [(one.label, one.size_bytes) for one in found] == [("Q8_0", 2 * MIB), ("Q4_K_M", MIB)]
    assert [file.path for file in found[0].files] == sorted(names[:2])


def test_a_variant_that_lacks_a_shard_is_left_out() -> None:
    assert not variants([RepoFile("a-Q8_0-00002-of-00002.gguf", MIB)])


@pytest.mark.parametrize("asked", ["q4_k_m", "Q4_K_M", "a-q4_k_m.GGUF"])
def test_a_variant_is_found_by_what_people_call_it(asked: str) -> None:
    found = variants([RepoFile("a-Q4_K_M.gguf", 5), RepoFile("a-Q8_0.gguf", 9), RepoFile("a-UD-Q4_K_M.gguf", 6)])
    variant = named(found, asked)
    assert variant and variant.label == "Q4_K_M"


def test_a_publishers_variant_serves_where_there_is_no_plain_one() -> None:
    variant = named(variants([RepoFile("a-UD-Q4_K_XL.gguf", 6)]), "q4_k_xl")
    assert variant and variant.label == "UD-Q4_K_XL"
    assert named([], "Q4_K_M") is None


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("S-APEX-Balanced", "S-APEX-Compact"), ["Balanced", "Compact"]),
        (("muse-kquant-17gb", "muse-kquant-dynamic"), ["17gb", "dynamic"]),
        (("large/model", "small/model"), ["large", "small"]),
        (("model", "model-v2"), ["unknown", "v2"]),
        (("one", "other"), ["one", "other"]),
        (("only",), ["unknown"]),
        (("only", "only-Q8_0"), ["unknown", "Q8_0"]),
    ],
)
def test_models_without_a_quantization_are_labelled_by_what_differs(names: tuple[str, ...], labels: list[str]) -> None:
    assert [one.label for one in variants(RepoFile(f"{name}.gguf", 1) for name in names)] == labels


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("compact", "S-APEX-Compact.gguf"),
        ("apex-compact", "S-APEX-Compact.gguf"),
        ("Q8_0", "both/A-Q8_0.gguf"),  # the same model twice
        ("Q4_0", None),  # two models
        ("A-7B-Q4_0", "A-7B-Q4_0.gguf"),
        ("pact", None),
        ("A", None),
    ],
)
def test_a_name_stands_for_one_model_or_none(name: str, expected: str | None) -> None:
    names = ("S-APEX-Balanced", "S-APEX-Compact", "both/A-Q8_0", "A-Q8_0", "A-7B-Q4_0", "A-13B-Q4_0")
    found = named(variants(RepoFile(f"{one}.gguf", 1) for one in names), name)
    assert (found and found.files[0].path) == expected


def test_what_is_called_a_draft_or_matrix_is_a_model_where_nothing_else_is() -> None:
    names = ["A-eagle3-Q8_0.gguf", "mmproj-A.gguf"]
    assert [one.stem for one in variants(RepoFile(name, 1) for name in names)] == ["A-eagle3-Q8_0"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("mmproj-a-BF16.gguf", "mmproj-a-F16.gguf", "mmproj-a-F32.gguf"), "mmproj-a-F16.gguf"),
        (("vision/mmproj-a-F16.gguf",), "vision/mmproj-a-F16.gguf"),
        (("projector/a-F16.gguf",), "projector/a-F16.gguf"),
        (("mmproj-b-13b-f16.gguf", "mmproj-a-7b-f16.gguf"), "mmproj-a-7b-f16.gguf"),
    ],
)
def test_the_projector_that_fits_comes_along(names: tuple[str, ...], expected: str) -> None:
    files = [RepoFile("a-7b-Q4_K_M.gguf", 9), *(RepoFile(name, 1) for name in names)]
    (model,) = variants(files)
    eye = projector_of(files, model)
    assert eye and eye.path == expected


def test_the_nearest_projector_with_about_as_many_bits_comes_along() -> None:
    files = [RepoFile("a-Q8_0.gguf", 9), RepoFile("mmproj-a-Q8_0.gguf", 1), RepoFile("mmproj-a-F16.gguf", 2)]
    eye = projector_of(files, variants(files)[0])
    assert eye and eye.path == "mmproj-a-Q8_0.gguf"
    assert projector_of(files[:1], variants(files)[0]) is None
    below = [RepoFile("Q8_0/a-Q8_0.gguf", 9), RepoFile("mmproj-a-F16.gguf", 2)]
    above = projector_of(below, variants(below)[0])
    assert above and above.path == "mmproj-a-F16.gguf"


def test_bits_of_unusual_labels_are_those_of_their_kin() -> None:
    assert bits_per_weight("Q6_K_L") == bits_per_weight("Q6_K") and bits_per_weight("IQ4_KS") is None


def test_of_a_repository_of_safetensors_engines_read_what_lies_at_its_top() -> None:
    read = ["config.json", "model-00001-of-00002.safetensors", "tokenizer.model", "merges.txt", "chat_template.jinja"]
    others = ["README.md", "modeling.py", "original/params.json", "consolidated.safetensors", "pytorch_model.bin"]
    assert [file.path for file in folder_files(RepoFile(name, 1) for name in read + others)] == read
    assert not folder_files([RepoFile("config.json", 1)])
