"""LoRA adapters for two tiny models, and the logits that PEFT's own merge gives.

usage: lora.py FIXTURES OUTDIR      (FIXTURES holds tiny-qwen2 and tiny-qwen2-tied)
Versions: torch 2.15.0, transformers 5.23.0, peft 0.21.2. Everything is computed in float32, eager attention.
OUTDIR/MODEL/ADAPTER/ is what save_pretrained() wrote; OUTDIR/MODEL/expected.safetensors holds `ids` I32 [T] and, for
each case below, `CASE.logits` F32 [T, vocab]; those of no adapter are p33.logits of the model's own fixture.
"""
import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

# Every linear, a list of names; a pattern, with ranks and alphas of their own and rank-stabilized scaling.
ADAPTERS = {
    "all": dict(r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
                                                    "down_proj"]),
    "some": dict(r=4, lora_alpha=6, use_rslora=True, target_modules=r".*layers\.1\.(self_attn\.[qo]_proj|mlp\.down_proj)",
                 rank_pattern={"down_proj": 16}, alpha_pattern={"self_attn.q_proj": 3}),
}
HEAD = dict(r=5, lora_alpha=5, target_modules=["lm_head", "v_proj"])  # only where the head is not tied


def base(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")


def logits(model, ids):
    with torch.no_grad():
        return model(ids[None]).logits[0].contiguous()


def make(model_path, options, out, seed, bf16):
    torch.manual_seed(seed)
    model = get_peft_model(base(model_path), LoraConfig(task_type="CAUSAL_LM", **options))
    for name, weight in model.named_parameters():
        if "lora_" in name:  # both matrices random, the change of an output about a tenth of it
            weight.data.normal_(0, 0.02 if "lora_A" in name else 0.03)
            if bf16:
                weight.data = weight.data.bfloat16().float()
    model.save_pretrained(out)
    (out / "README.md").unlink()
    if bf16:
        path = out / "adapter_model.safetensors"
        save_file({k: v.bfloat16() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    config = json.loads((out / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = model_path.name
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    (out / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True))


def merged(model_path, folder, cases, ids):
    """Adapters one after another, each merged into the weights by PEFT; (name, scale)."""
    model = base(model_path)
    for name, scale in cases:
        model = PeftModel.from_pretrained(model, folder / name)
        for module in model.modules():
            if isinstance(module, LoraLayer):
                module.scaling = {key: value * scale for key, value in module.scaling.items()}
        model = model.merge_and_unload()
    return logits(model, ids)


def main():
    fixtures, out = Path(sys.argv[1]), Path(sys.argv[2])
    for model in ("tiny-qwen2", "tiny-qwen2-tied"):
        folder, path = out / model, fixtures / model
        adapters = dict(ADAPTERS) if model.endswith("tied") else {**ADAPTERS, "head": HEAD}
        for seed, (name, options) in enumerate(adapters.items()):
            make(path, options, folder / name, seed, bf16=name == "some")
        ids = load_file(path / "expected.safetensors")["p33.ids"]
        results = {"ids": ids, "none.logits": logits(base(path), ids.long())}
        cases = {name: [(name, 1)] for name in adapters}
        cases |= {"half": [("all", 0.5)], "both": [("all", 1), ("some", -0.7)]}
        for case, parts in cases.items():
            results[case + ".logits"] = merged(path, folder, parts, ids.long())
            change = (results[case + ".logits"] - results["none.logits"]).abs()
            print(f"{model} {case}: logits change by {change.mean():.3f} on average, {change.max():.2f} at most")
        del results["none.logits"]
        save_file(results, folder / "expected.safetensors")


if __name__ == "__main__":
    main()
