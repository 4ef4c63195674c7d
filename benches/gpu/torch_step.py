"""The ChromBPNet training step of `cbp-fast bench train` in PyTorch on a GPU, timed: same model, frozen
bias model, batch, losses and optimizer, on random data that stays on the GPU. One JSON line per form.

    tf32           eager, float32 storage, TF32 products
    amp-bf16       eager, autocast to bfloat16, contiguous (Conv1d)
    amp-bf16-cl    the same, channels last (Conv2d of height 1)
    compiled-bf16  amp-bf16-cl under torch.compile, mode max-autotune
    ceilings       a large copy and a large matrix product instead of a model
"""

import argparse
import json
import statistics
import time

FORMS = ["ceilings", "tf32", "amp-bf16", "amp-bf16-cl", "compiled-bf16"]
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--filters", type=int, default=512)
parser.add_argument("--layers", type=int, default=8)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--warmup", type=int, default=10)
parser.add_argument("--steps", type=int, default=30)
parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the script out")
parser.add_argument("--forms", nargs="+", default=FORMS, choices=FORMS)
args = parser.parse_args()

import torch
import torch.nn.functional as F

INPUTLEN, OUTPUTLEN = 2114, 1000
BIAS_FILTERS, BIAS_LAYERS = 128, 4
COUNTS_LOSS_WEIGHT = 10.0
ON_GPU = args.device == "cuda"
torch.backends.cudnn.benchmark = True


class BPNet(torch.nn.Module):
    """[B, 4, inputlen] -> logits [B, outputlen], logcounts [B]; heads in float32. With `flat` the
    convolutions are Conv2d of height 1, which PyTorch can lay out channels last."""

    def __init__(self, filters, n_layers, flat):
        super().__init__()
        self.flat = flat
        if flat:
            conv = lambda i, o, k, d=1: torch.nn.Conv2d(i, o, (1, k), dilation=(1, d))
        else:
            conv = lambda i, o, k, d=1: torch.nn.Conv1d(i, o, k, dilation=d)
        self.first = conv(4, filters, 21)
        self.dilated = torch.nn.ModuleList(conv(filters, filters, 3, 2**i) for i in range(1, n_layers + 1))
        self.profile = conv(filters, 1, 75)
        self.counts = torch.nn.Linear(filters, 1)

    def forward(self, x):
        if self.flat:
            x = x[:, :, None, :].contiguous(memory_format=torch.channels_last)
        x = F.relu(self.first(x))
        for i, conv in enumerate(self.dilated, start=1):
            x = F.relu(conv(x)) + x[..., 2**i : -(2**i)]
        profile = self.profile(x).float().flatten(1)
        crop = (profile.shape[1] - OUTPUTLEN) // 2
        with torch.autocast(args.device, enabled=False):
            counts = self.counts(x.float().flatten(2).mean(dim=2))[:, 0]
        return profile[:, crop : crop + OUTPUTLEN], counts


def multinomial_nll(counts, logits):
    """Mean over the batch, combinatorial term included."""
    combinations = torch.lgamma(counts.sum(-1) + 1) - torch.lgamma(counts + 1).sum(-1)
    return -(combinations + (counts * F.log_softmax(logits, dim=-1)).sum(-1)).mean()


def synchronize():
    if ON_GPU:
        torch.cuda.synchronize()


def timed(step, warmup, steps):
    """Seconds of each step, the GPU waited for."""
    for _ in range(warmup):
        step()
    synchronize()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds


def ceilings():
    gib = 2**30 if ON_GPU else 2**24
    source = torch.empty(gib, dtype=torch.uint8, device=args.device)
    target = torch.empty_like(source)
    seconds = min(timed(lambda: target.copy_(source), 3, 10))
    found = {"copy_tb_per_s": 2 * gib / seconds / 1e12}
    del source, target
    n = 8192 if ON_GPU else 256
    for name, dtype in [("bf16", torch.bfloat16), ("fp16", torch.float16), ("tf32", torch.float32)]:
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        a, b = (torch.randn(n, n, device=args.device).to(dtype) for _ in range(2))
        seconds = min(timed(lambda: a @ b, 3, 10))
        found[f"matmul_{name}_tflops"] = 2 * n**3 / seconds / 1e12
    return found


def training(form):
    torch.manual_seed(1)
    flat = form in ("amp-bf16-cl", "compiled-bf16")
    main = BPNet(args.filters, args.layers, flat).to(args.device)
    bias = BPNet(BIAS_FILTERS, BIAS_LAYERS, flat).to(args.device)
    if flat:
        main, bias = (m.to(memory_format=torch.channels_last) for m in (main, bias))
    bias.requires_grad_(False)
    for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
        backend.allow_tf32 = True
    codes = torch.randint(0, 4, (args.batch_size, INPUTLEN), device=args.device)
    x = F.one_hot(codes, 4).float().transpose(1, 2).contiguous()
    counts = torch.poisson(torch.full((args.batch_size, OUTPUTLEN), 0.2, device=args.device))
    logcounts = torch.log1p(counts.sum(-1))
    optimizer = torch.optim.Adam(main.parameters(), lr=1e-3, eps=1e-7, fused=ON_GPU)

    def losses():
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=form != "tf32"):
            bias_logits, bias_logcounts = bias(x)
            logits, main_logcounts = main(x)
        predicted = torch.logaddexp(main_logcounts, bias_logcounts)
        counts_loss = F.mse_loss(predicted, logcounts)
        return multinomial_nll(counts, logits + bias_logits) + COUNTS_LOSS_WEIGHT * counts_loss

    forward = torch.compile(losses, mode="max-autotune") if form == "compiled-bf16" else losses
    last = None

    def step():
        nonlocal last
        optimizer.zero_grad(set_to_none=True)
        last = forward()
        last.backward()
        optimizer.step()

    if ON_GPU:
        torch.cuda.reset_peak_memory_stats()
    seconds = timed(step, args.warmup, args.steps)
    return {
        "filters": args.filters,
        "layers": args.layers,
        "batch_size": args.batch_size,
        "ms_per_step": 1e3 * statistics.median(seconds),
        "examples_per_s": args.batch_size / statistics.median(seconds),
        "step_seconds": seconds,
        "loss": last.item(),
        "memory_bytes": torch.cuda.max_memory_allocated() if ON_GPU else None,
    }


for form in args.forms:
    result = {"peer": "pytorch", "version": torch.__version__, "form": form, "device": args.device}
    if ON_GPU and torch.cuda.is_available():
        result["gpu"] = torch.cuda.get_device_name()
    try:
        result.update(ceilings() if form == "ceilings" else training(form))
    except Exception as error:  # one form less must not cost the others
        result["error"] = f"{type(error).__name__}: {error}"[:300]
    print(json.dumps(result), flush=True)
