"""Runs the binary on mutated inputs. For readers in one process, which is far faster, see fuzz/mutants.rs.

    tests/campaigns/mutants.py --binary PATH [--mutants N] [--seed S] [--jobs J]

Each mutant is one input file of a cheap command with bits flipped, a part cut off, removed or repeated, a field
replaced by a hostile value or a size overwritten. What is asserted:

    never         a panic, a signal, a hang (60 s), more than 2 GB of memory
    exit 1        an error text, and no output under its final name
    exit 0        where the input has checksums (BAM, gzip, packs) and only bits were flipped: the output of
                  the input as it was
"""

import concurrent.futures
import os
import random
import shutil
import subprocess

from experiment import arguments, drawn, environment, tree, Base, Ended, PATIENCE, Tally, TRAINING

MEMORY = 2 << 20  # kB
PREDICT = ["predict", "-m", "bias/models/bias.h5", "-g", "g.fa", "-r", "few.bed", "-o", "out", "-q"]
CHECK = ["check", "train", "--bigwig", "s.bw", *TRAINING, "-b", "bias/models/bias.h5", "-o", "out"]
# Input, command, and whether checksums protect the input.
TARGETS = [
    ("g.fa", ["pack", "genome", "-g", "g.fa", "-o", "out.cbg"], False),
    ("r.bam", ["pack", "signal", "-ibam", "r.bam", "-c", "c.sizes", "-d", "ATAC", "--shift", "0/0", "-o", "out.cbs"], True),
    ("f.tsv.gz", ["pack", "signal", "-ifrag", "f.tsv.gz", "-c", "c.sizes", "-d", "ATAC", "--shift", "0/0", "-o", "out.cbs"], True),
    ("s.bw", ["pack", "signal", "--bigwig", "s.bw", "-o", "out.cbs"], False),
    ("c.sizes", ["pack", "signal", "-ifrag", "f.tsv.gz", "-c", "c.sizes", "-d", "ATAC", "--shift", "0/0", "-o", "out.cbs"], False),
    ("s.cbs", ["pack", "verify", "s.cbs"], True),
    ("s.cbs", ["pack", "info", "s.cbs"], False),
    ("s.cbs", ["pack", "shift-qc", "-g", "g.fa", "--bigwig", "s.cbs", "-d", "ATAC", "-o", "out"], True),
    ("bias/models/bias.h5", PREDICT, False),
    ("few.bed", PREDICT, False),
    ("peaks.bed", CHECK, False),
    ("nonpeaks.bed", CHECK, False),
    ("fold.json", CHECK, False),
    ("s.bw", CHECK, False),
    ("peaks.bed", ["prep", "nonpeaks", "-g", "g.fa", "-c", "c.sizes", "-p", "peaks.bed", "-fl", "fold.json", "-il", "140", "-o", "out"], False),
    ("motifs.tsv", ["footprints", "-m", "bias/models/bias.h5", "-r", "few.bed", "-g", "g.fa", "-fl", "fold.json", "-op", "out",
                    "-pwm_f", "motifs.tsv"], False),
    ("v.tsv", ["variants", "-l", "v.tsv", "-g", "g.fa", "-m", "main/models/chrombpnet_nobias.h5", "-o", "out", "-n", "1"], False),
    ("broken.txt", ["cohort", "broken.txt"], False),
    ("main/logs/chrombpnet.run.json", ["report", "-o", "main"], False),
    ("main/logs/chrombpnet.log", ["report", "-o", "main"], False),
    ("main/logs/chrombpnet.run.json", ["train", "--bigwig", "s.bw", *TRAINING, "-b", "bias/models/bias.h5", "-o", "main"], False),
]
HOSTILE = [b"-1", b"0", b"18446744073709551615", b"4294967296", b"1e400", b"nan", b"", b"\xef\xbb\xbf", b"\r", b"\0",
           b"\xff\xfe", b"\t" * 9, b"\n\n", b"\x1b[2J", b"x" * 100_000]


def mutate(rng, whole):
    """(bytes, True when only bits were flipped)."""
    data, only_flips = bytearray(whole), True
    for _ in range(rng.randrange(1, 4)):
        if not data:
            break
        at = rng.randrange(len(data) if rng.random() < 0.5 else min(len(data), 300))
        kind = rng.randrange(8)
        only_flips &= kind > 5
        if kind == 0:
            del data[at:]
        elif kind == 1:
            to = rng.randrange(len(data))
            data[to:to] = data[at:at + rng.randrange(1, 80)]
        elif kind == 2:
            del data[at:at + rng.randrange(1, 30)]
        elif kind == 3:
            data[at:at] = rng.choice(HOSTILE)
        elif kind == 4:
            ends = [i for i in range(max(0, at - 50), min(len(data), at + 50)) if data[i] in b"\t\n, :\""]
            before, after = [i for i in ends if i < at], [i for i in ends if i >= at]
            data[(before[-1] + 1 if before else at):(after[0] if after else at)] = rng.choice(HOSTILE)
        elif kind == 5:
            width = rng.choice([1, 2, 4, 8])
            data[at:at + width] = (rng.choice([0, 1, 2**7, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1])
                                   & (256**width - 1)).to_bytes(width, "little")
        else:
            data[at] ^= 1 << rng.randrange(8)
    return bytes(data), only_flips and bytes(data) != whole


def bounded(words, folder):
    """How a run under a limit of addresses ended, and its peak memory in kB."""
    script = "ulimit -v 8000000; exec timeout -s KILL %d \"$@\"" % PATIENCE
    with open(os.path.join(folder, "tmp", "said"), "w+b") as said:
        process = subprocess.Popen(["sh", "-c", script, "sh", *words], cwd=folder, env=environment(folder),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        code = None if process.returncode in (-9, 137) else process.returncode
        return Ended(code, said.read().decode(errors="replace")), usage.ru_maxrss


def outputs(folder):
    return {p: v for p, v in tree(folder).items() if p.startswith("out") and not p.endswith(".run.json")}


def attempt(base, target, normal, number, seed, keep):
    """None, or what is wrong and what was said."""
    name, words, has_checksums = target
    rng = random.Random(f"{seed} {number}")
    folder = base.copy()
    with open(os.path.join(folder, name), "rb") as file:
        data, only_flips = mutate(rng, file.read())
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)
    ended, memory = bounded([base.binary, *words], folder)
    left = outputs(folder)
    wrong = ended.crash()
    if wrong is None and memory > MEMORY:
        wrong = f"{memory // 1024} MB of memory"
    if wrong is None and ended.code != 0 and "error" not in ended.stderr:
        wrong = f"exit {ended.code} without an error text"
    if wrong is None and ended.code not in (0, 1):
        wrong = f"exit {ended.code}"
    if wrong is None and ended.code == 1 and [p for p in left if not p.endswith("skipped.tsv")]:
        wrong = "exit 1 and an output: " + ", ".join(left)
    if wrong is None and ended.code == 0 and has_checksums and only_flips and (words[1] == "verify" or left != normal):
        wrong = "a flipped bit makes another output in silence"
    if wrong:
        os.makedirs(keep, exist_ok=True)
        shutil.copy(os.path.join(folder, name), os.path.join(keep, f"{number}-{os.path.basename(name)}"))
    shutil.rmtree(folder)
    return wrong and (wrong, ended.stderr)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--mutants", type=int, default=1000)
    drawn(parser)
    parser.add_argument("--keep", default="mutants-failed", help="folder for inputs that fail")
    args = parser.parse_args()
    base, tally = Base(args.binary), Tally("mutants")
    try:
        with open(base.path("broken.txt"), "w") as file:
            file.write("# two\ntrain -g 'no such.fa' -o a\n\nbias train -g no.fa -o b\n")
        normal = []
        for name, words, has_checksums in TARGETS:
            folder = base.copy()
            ended, _ = bounded([base.binary, *words], folder)
            if has_checksums and ended.code != 0:
                raise SystemExit(f"error: {' '.join(words)} fails as it is\n{ended.stderr}")
            normal.append(outputs(folder))
            shutil.rmtree(folder)
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            work = {}
            for number in range(args.mutants):
                which = number % len(TARGETS)
                one = pool.submit(attempt, base, TARGETS[which], normal[which], number, args.seed, args.keep)
                work[one] = (number, TARGETS[which])
            for done in concurrent.futures.as_completed(work):
                number, (name, words, _) = work[done]
                what = f"{name}: {' '.join(words[:2])}"
                tally.tried_one(what)
                if done.result():
                    tally.fault(what, f"mutant {number}", *done.result())
    finally:
        base.remove()
    tally.finish()


if __name__ == "__main__":
    main()
