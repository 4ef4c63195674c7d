"""One ChromBPNet training step in PyTorch, timed: the model, losses and optimizer that
`cbp-fast bench train` runs, on random data. Prints one JSON line per form (eager, compiled).

Channels first and contiguous: the layout that PyTorch's CPU convolutions (oneDNN) want."""

import argparse
import json
import os
import statistics
import time

import torch
import torch.nn.functional as F

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--filters", type=int, default=512)
parser.add_argument("--layers", type=int, default=8)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--warmup", type=int, default=1)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--forms", nargs="+", default=["eager", "compiled"], choices=["eager", "compiled"])
args = parser.parse_args()

torch.set_num_threads(args.threads)
INPUTLEN, OUTPUTLEN = 2114, 1000
BIAS_FILTERS, BIAS_LAYERS = 128, 4
COUNTS_LOSS_WEIGHT = 10.0


class BPNet(torch.nn.Module):
    """[B, 4, inputlen] -> logits [B, outputlen], logcounts [B]; no padding anywhere."""

    def __init__(self, filters, n_layers):
        super().__init__()
        self.first = torch.nn.Conv1d(4, filters, 21)
        self.dilated = torch.nn.ModuleList(
            torch.nn.Conv1d(filters, filters, 3, dilation=2**i) for i in range(1, n_layers + 1)
        )
        self.profile = torch.nn.Conv1d(filters, 1, 75)
        self.counts = torch.nn.Linear(filters, 1)

    def forward(self, x):
        x = F.relu(self.first(x))
        for conv in self.dilated:
            d = conv.dilation[0]
            x = F.relu(conv(x)) + x[:, :, d:-d]
        profile = self.profile(x)[:, 0]
        crop = (profile.shape[1] - OUTPUTLEN) // 2
        return profile[:, crop : crop + OUTPUTLEN], self.counts(x.mean(dim=2))[:, 0]


def multinomial_nll(counts, logits):
    """Mean over the batch, combinatorial term included."""
    combinations = torch.lgamma(counts.sum(-1) + 1) - torch.lgamma(counts + 1).sum(-1)
    return -(combinations + (counts * F.log_softmax(logits, dim=-1)).sum(-1)).mean()


torch.manual_seed(1)
codes = torch.randint(0, 4, (args.batch_size, INPUTLEN))
x = F.one_hot(codes, 4).float().transpose(1, 2).contiguous()
counts = torch.poisson(torch.full((args.batch_size, OUTPUTLEN), 0.2))
logcounts = torch.log1p(counts.sum(-1))

for form in args.forms:
    torch.manual_seed(1)
    main, bias = BPNet(args.filters, args.layers), BPNet(BIAS_FILTERS, BIAS_LAYERS)
    bias.requires_grad_(False)
    optimizer = torch.optim.Adam(main.parameters(), lr=1e-3, eps=1e-7)

    def losses():
        bias_logits, bias_logcounts = bias(x)
        logits, main_logcounts = main(x)
        predicted = torch.logaddexp(main_logcounts, bias_logcounts)
        counts_loss = F.mse_loss(predicted, logcounts)
        return multinomial_nll(counts, logits + bias_logits) + COUNTS_LOSS_WEIGHT * counts_loss

    forward = torch.compile(losses) if form == "compiled" else losses

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = forward()
        loss.backward()
        optimizer.step()
        return loss.item()

    try:
        for _ in range(args.warmup):
            step()
        seconds = []
        for _ in range(args.steps):
            start = time.perf_counter()
            last = step()
            seconds.append(time.perf_counter() - start)
    except Exception as error:  # torch.compile needs a C++ compiler; without one eager stands
        print(json.dumps({"peer": "pytorch", "form": form, "error": str(error)[:200]}), flush=True)
        continue
    print(
        json.dumps(
            {
                "peer": "pytorch",
                "version": torch.__version__,
                "form": form,
                "filters": args.filters,
                "layers": args.layers,
                "batch_size": args.batch_size,
                "threads": args.threads,
                "examples_per_s": args.batch_size / statistics.median(seconds),
                "step_seconds": seconds,
                "loss": last,
            }
        ),
        flush=True,
    )
