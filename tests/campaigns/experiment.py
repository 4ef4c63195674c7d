"""A tiny experiment and every command that writes, for the campaigns in this folder.

Base(binary) makes the experiment once: genome, reads, regions, folds, lists, and with the binary a
bigWig, packs and trained models. base.copy() is a folder to run one command in. COMMANDS are command
lines relative to such a folder. Nothing but Python's standard library is needed.
"""

import argparse
import gzip
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import zlib

CONTIG = 12_000
CHROMS = ["chr1", "chr2", "chr3"]
# Seconds; longer than any command takes here, many times over.
PATIENCE = 60

MODEL = ["-il", "140", "-ol", "40", "-dil", "1", "-bs", "8", "-e", "2"]
GENOME = ["-g", "g.fa", "-c", "c.sizes"]
REGIONS = ["-p", "peaks.bed", "-n", "nonpeaks.bed", "-fl", "fold.json"]
TRAINING = [*GENOME, *REGIONS, "-d", "ATAC", *MODEL]
BIAS = ["--bigwig", "s.bw", *TRAINING, "-b", "1.5", "-fil", "2"]
MAIN = ["--bigwig", "s.bw", *TRAINING, "-b", "bias/models/bias.h5", "-fil", "3", "-j", "20", "-sr", "0.5"]
QC = ["-bw", "s.bw", *GENOME, *REGIONS, "-d", "ATAC", "-bs", "8", "--num-interpret", "2"]

# What each writes is new in its folder. Threads: one, so that calls come in one order.
COMMANDS = {
    "pack-genome": ["pack", "genome", "-g", "g.fa", "-o", "out.cbg"],
    "pack-bam": ["pack", "signal", "-ibam", "r.bam", "-g", "g.fa", "-d", "ATAC", "--shift", "0/0",
                 "-o", "out.cbs", "--bigwig-out", "out.bw"],
    "pack-fragments": ["pack", "signal", "-ifrag", "f.tsv.gz", "-c", "c.sizes", "-d", "ATAC", "--shift", "4/-4",
                       "-o", "out.cbs"],
    "pack-bigwig": ["pack", "signal", "--bigwig", "s.bw", "-o", "out.cbs"],
    "shift-qc": ["pack", "shift-qc", "-g", "g.fa", "--bigwig", "s.bw", "-d", "ATAC", "-o", "shift"],
    "nonpeaks": ["prep", "nonpeaks", *GENOME, "-p", "peaks.bed", "-fl", "fold.json", "-il", "140", "-st", "50",
                 "-o", "made"],
    "splits": ["prep", "splits", "-op", "made", "-c", "c.sizes", "-tcr", "chr3", "-vcr", "chr2"],
    "bias-train": ["bias", "train", *BIAS, "-o", "out"],
    "train": ["train", *MAIN, "-o", "out"],
    "train-bam": ["train", "-ibam", "r.bam", "--shift", "0/0", *MAIN[2:], "-o", "out"],
    "predict": ["predict", "-m", "bias/models/bias.h5", "-g", "g.fa", "-bw", "s.bw", *REGIONS, "-o", "out", "-bs", "8"],
    "pred-bw": ["pred_bw", "-bm", "bias/models/bias.h5", "-g", "g.fa", "-c", "c.sizes", "-r", "peaks.bed", "-op", "out"],
    "tile": ["predict", "-m", "bias/models/bias.h5", "-g", "g.fa", "-c", "c.sizes", "--tile", "chr3", "-o", "out"],
    "contribs": ["contribs", "-m", "main/models/chrombpnet_nobias.h5", "-g", "g.fa", "-c", "c.sizes",
                 "-r", "few.bed", "-op", "out", "--n-references", "2"],
    "footprints": ["footprints", "-m", "bias/models/bias.h5", "-r", "nonpeaks.bed", "-g", "g.fa", "-fl", "fold.json",
                   "-op", "out", "-pwm_f", "motifs.tsv", "-bs", "8"],
    "variants": ["variants", "-l", "v.tsv", "-g", "g.fa", "-m", "main/models/chrombpnet_nobias.h5", "-o", "out",
                 "-n", "1", "-p", "peaks.bed", "--h5"],
    "qc": ["qc", "-cm", "main/models/chrombpnet.h5", "-cmb", "main/models/chrombpnet_nobias.h5", *QC, "-o", "out"],
    "report": ["report", "-o", "main"],
    "pipeline": ["pipeline", *MAIN, "-o", "out", "--num-interpret", "2"],
    "cohort": ["cohort", "runs.txt", "--at-once", "1"],
    "man": ["man", "out"],
}
ONE_THREAD = {"bias-train", "train", "train-bam", "predict", "pred-bw", "tile", "contribs", "footprints", "variants",
              "qc", "pipeline"}


def arguments(description):
    """What every campaign takes on its command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    return parser


def drawn(parser):
    """Those that try what is drawn at random, side by side."""
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)


def command_line(name):
    """The words after the binary."""
    return COMMANDS[name] + (["--threads", "1", "--device", "cpu"] if name in ONE_THREAD else [])


def environment(folder):
    """No GPU, threads of libraries kept to one, and temporary files where they can be seen."""
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
    return {**keep, "CUDA_VISIBLE_DEVICES": "", "RAYON_NUM_THREADS": "1", "TMPDIR": os.path.join(folder, "tmp")}


class Ended:
    """How a process ended, and what it said."""

    def __init__(self, code, stderr):
        self.code, self.stderr = code, stderr

    def crash(self):
        """What no run may end in, or None."""
        if self.code is None:
            return "hang"
        if self.code == 101 or "panicked at" in self.stderr or "a defect of this program" in self.stderr:
            return "panic"
        if self.code < 0 or self.code >= 128:
            number = -self.code if self.code < 0 else self.code - 128
            return f"killed by {signal.Signals(number).name}" if number in iter(signal.Signals) else f"exit {self.code}"
        return None


def run(words, folder, patience=PATIENCE):
    """Runs `words` in `folder`; a run that outlasts `patience` seconds is killed with its children."""
    process = subprocess.Popen(words, cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    try:
        _, said = process.communicate(timeout=patience)
        return Ended(process.returncode, said.decode(errors="replace"))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Ended(None, "")


def tree(folder):
    """Relative path -> hash of every file below `folder`; a symlink's value says where it points."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            if os.path.islink(path):
                value = "link to " + os.readlink(path)
            else:
                with open(path, "rb") as file:
                    value = hashlib.sha256(file.read()).hexdigest()
            found[os.path.relpath(path, folder)] = value
    return found


def is_cache(path):
    """Packs carry the time stamps of their inputs and are checked when they are used."""
    return path.startswith(".cbp-fast-cache/")


def is_temporary(path):
    """Names under which the program writes what is not complete yet."""
    return path.startswith("tmp/") or (os.path.basename(path).startswith(".cbp-fast-") and not is_cache(path))


def is_page(path):
    """Pages and figures of a run, which are made of what can be read; what is missing is a warning."""
    return os.path.basename(os.path.dirname(path)) == "evaluation" and not path.endswith((".json", ".h5", ".txt"))


def is_growing(path):
    """Files that a run extends as it goes, from which it goes on."""
    return os.path.basename(os.path.dirname(path)) == "logs" or path.endswith((".partial", ".rows", ".safetensors"))


class Undisturbed:
    """What a command leaves when nothing happens, from two runs: what differs between them is volatile."""

    def __init__(self, base, name):
        trees = []
        for _ in range(2):
            folder = base.copy()
            ended = run([base.binary, *command_line(name)], folder)
            if ended.code != 0:
                raise SystemExit(f"error: {name} fails undisturbed, exit {ended.code}\n{ended.stderr}")
            trees.append(tree(folder))
            shutil.rmtree(folder)
        one, other = trees
        self.files = {path: value for path, value in one.items() if not is_cache(path) and not is_temporary(path)}
        # A page names the minute in which it was made.
        self.volatile = {path for path in self.files if other.get(path) != one[path] or path.endswith("report.html")}
        self.inputs = tree(base.folder)
        # What a command that works on a finished folder replaces is no input.
        self.replaced = {path for path, value in self.inputs.items() if one.get(path) != value}

    def differences(self, folder, complete, said=""):
        """What is wrong with `folder` after a run. `complete`: it said that all went well. A page that
        lacks a part is no difference where the run, which `said` is the stderr of, warned about it."""
        now, wrong = tree(folder), []
        for path, value in self.inputs.items():
            if path not in self.replaced | self.volatile and now.get(path) != value:
                wrong.append(f"input {path} was changed")
        for path, value in self.files.items():
            if is_page(path) and "warning: " in said:
                continue
            # A figure is there to be looked at: without it a command goes on, and names it.
            if path.endswith(".png") and f"warning: no {path}:" in said:
                continue
            if path not in now:
                if complete:
                    wrong.append(f"{path} is missing")
            elif now[path] != value and path not in self.volatile:
                old = self.inputs.get(path) == now[path]
                if complete or not (old or is_growing(path)):
                    wrong.append(f"{path} differs")
        for path in now:
            if path not in self.files and not is_cache(path):
                if is_temporary(path) or complete:
                    wrong.append(f"{path} is left over")
        return wrong


class Base:
    """The experiment; removed at the end."""

    def __init__(self, binary):
        self.binary = os.path.realpath(binary)
        self.root = tempfile.mkdtemp(prefix="campaign-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.folder = os.path.join(self.root, "base")
        os.makedirs(os.path.join(self.folder, "tmp"))
        self._copies = 0
        try:
            self._write()
            for words in (["pack", "signal", "-ibam", "r.bam", "-g", "g.fa", "-d", "ATAC", "--shift", "0/0",
                           "-o", "s.cbs", "--bigwig-out", "s.bw"],
                          ["bias", "train", *BIAS, "-o", "bias", "--device", "cpu", "-q"],
                          ["train", *MAIN, "-o", "main", "--device", "cpu", "-q"]):
                ended = run([self.binary, *words], self.folder)
                if ended.code != 0:
                    raise SystemExit(f"error: cannot make the experiment: {' '.join(words)}\n{ended.stderr}")
            shutil.rmtree(os.path.join(self.folder, ".cbp-fast-cache"), ignore_errors=True)
        except BaseException:
            self.remove()
            raise

    def copy(self):
        self._copies += 1
        folder = os.path.join(self.root, f"run{self._copies}")
        # With time stamps, so that finished runs are found unchanged.
        shutil.copytree(self.folder, folder, symlinks=True)
        return folder

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def _text(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)

    def _write(self):
        rng = random.Random(7)
        genome, peaks, nonpeaks, reads = {}, [], [], []
        for index, chrom in enumerate(CHROMS):
            bases = genome[chrom] = "".join(rng.choice("ACGT") for _ in range(CONTIG))
            for start in range(1000, CONTIG - 1000, 500):
                is_peak = start % 1000 == 0
                row = f"{chrom}\t{start - 100}\t{start + 100}\t.\t.\t.\t.\t.\t.\t100\n"
                (peaks if is_peak else nonpeaks).append(row)
                for _ in range(rng.randrange(100, 200) if is_peak else rng.randrange(10, 30)):
                    at = start - 50 + rng.randrange(100)
                    # The enzyme cuts before G twice as often.
                    reads += [(index, at, rng.randrange(2))] * (2 if bases[at] == "G" else 1)
        self._text("g.fa", "".join(f">{c}\n" + "\n".join(b[i:i + 60] for i in range(0, CONTIG, 60)) + "\n"
                                   for c, b in genome.items()))
        self._text("c.sizes", "".join(f"{c}\t{CONTIG}\n" for c in CHROMS))
        self._text("peaks.bed", "".join(peaks))
        self._text("few.bed", "".join(peaks[:3]))
        self._text("nonpeaks.bed", "".join(nonpeaks))
        self._text("fold.json", json.dumps({"train": ["chr1"], "valid": ["chr2"], "test": ["chr3"]}))
        self._text("motifs.tsv", "tn5_a\tGCACAGTACAGAGCTG\nCTCF\tTTGGCCACNAGGG\n")
        rows = []
        for i, at in enumerate(range(1000, 3000, 400)):
            old = genome["chr3"][at - 1]
            rows.append(f"chr3\t{at}\t{old}\t{'ACGT'[('ACGT'.index(old) + 1) % 4]}\trs{i}\n")
        self._text("v.tsv", "".join(rows))
        self._text("runs.txt", "".join(" ".join(["bias", "train", *BIAS, "-s", s, "-o", "out" + s, "--device", "cpu"])
                                       + "\n" for s in ("1", "2")))
        reads.sort()
        with open(self.path("r.bam"), "wb") as file:
            file.write(bam(reads))
        with gzip.GzipFile(self.path("f.tsv.gz"), "wb", mtime=0) as file:
            for index, at, _ in reads:
                file.write(f"{CHROMS[index]}\t{at}\t{at + 80}\tAAAC-1\t1\n".encode())


def bam(reads):
    """A BAM of 20 bp reads whose 5' ends are `reads`: (contig, position, reverse). SAM specification, 4.2."""
    text = b"@HD\tVN:1.6\n"
    out = bytearray(b"BAM\1" + struct.pack("<i", len(text)) + text + struct.pack("<i", len(CHROMS)))
    for chrom in CHROMS:
        out += struct.pack("<i", len(chrom) + 1) + chrom.encode() + b"\0" + struct.pack("<i", CONTIG)
    for contig, at, reverse in reads:
        start = at - 19 if reverse else at
        record = struct.pack("<iiBBHHHiiii", contig, start, 2, 60, 0, 1, 16 * reverse, 0, -1, -1, 0)
        record += b"r\0" + struct.pack("<I", 20 << 4)
        out += struct.pack("<i", len(record)) + record
    return b"".join(block(bytes(out[i:i + 60_000])) for i in range(0, len(out), 60_000)) + block(b"")


def block(data):
    """A bgzip block; one of nothing ends a file."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = packer.compress(data) + packer.flush()
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(data), len(data))


class Tally:
    """Counts what was tried, prints what went wrong as it happens, and ends the script."""

    def __init__(self, what):
        self.what, self.tried, self.wrong = what, {}, []

    def tried_one(self, name):
        self.tried[name] = self.tried.get(name, 0) + 1

    def fault(self, name, how, wrong, said=""):
        self.wrong.append(name)
        last = said.strip().splitlines()[-3:]
        print(f"FAULT {name}: {how}: {wrong}" + "".join(f"\n    {line}" for line in last), flush=True)

    def finish(self):
        for name, n in self.tried.items():
            print(f"{name}\t{n} {self.what}\t{self.wrong.count(name)} faults")
        print(f"total\t{sum(self.tried.values())} {self.what}\t{len(self.wrong)} faults")
        raise SystemExit(1 if self.wrong else 0)


def chosen(text):
    """Command names of a comma-separated list; all without one."""
    names = text.split(",") if text else list(COMMANDS)
    unknown = [n for n in names if n not in COMMANDS]
    if unknown:
        raise SystemExit(f"error: no command is called {unknown[0]}\n  fix: choose from {', '.join(COMMANDS)}")
    return names
