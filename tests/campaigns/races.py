"""Starts commands at once on one folder, prefix and cache.

    tests/campaigns/races.py --binary PATH [--rounds N] [--commands A,B]

For each command, 2 and 8 runs that are equal, and 2 and 8 runs of which every second one differs by its seed
or its inputs. What is asserted: each run ends with 0, or with 1 and an error text; one at least with 0; the
files left are those of one undisturbed run, all of them, never a mixture; nothing is left over.
"""

import shutil
import subprocess

from experiment import arguments, chosen, command_line, environment, tree, Base, Ended, PATIENCE, Tally
from experiment import is_cache, is_temporary

# Words that make the other kind of run: another result under the same names.
OTHER = {
    "pack-genome": {"g.fa": "other.fa"}, "pack-bam": {"0/0": "1/1"}, "pack-fragments": {"4/-4": "3/-3"},
    "pack-bigwig": {"s.bw": "other.bw"}, "nonpeaks": {"50": "60"}, "splits": {"chr3": "chr1"},
    "bias-train": ["-s", "9"], "train": ["-s", "9"], "predict": {"bias/models/bias.h5": "main/models/chrombpnet_nobias.h5"},
    "pred-bw": {"peaks.bed": "nonpeaks.bed"}, "contribs": ["--seed", "9"], "variants": ["-r", "9"],
}


def other_words(name):
    """The command line of the other kind, or None."""
    change = OTHER.get(name)
    words = command_line(name)
    if isinstance(change, dict):
        return [change.get(word, word) for word in words]
    return change and words + change


def left(base, words):
    """What a run of `words` alone leaves: files, and those that differ from run to run."""
    trees = []
    for _ in range(2):
        folder = base.copy()
        subprocess.run([base.binary, *words], cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        trees.append({p: v for p, v in tree(folder).items() if not is_cache(p) and not is_temporary(p)})
        shutil.rmtree(folder)
    return trees[0], {p for p in trees[0] if trees[0][p] != trees[1].get(p)}


def race(base, lines, wanted):
    """None, or what is wrong and what was said. `wanted`: results that may be left."""
    folder = base.copy()
    processes = [subprocess.Popen([base.binary, *words], cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for words in lines]
    ends = []
    for process in processes:
        try:
            _, said = process.communicate(timeout=PATIENCE * 5)
            ends.append(Ended(process.returncode, said.decode(errors="replace")))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            ends.append(Ended(None, ""))
    now = {p: v for p, v in tree(folder).items() if not is_cache(p)}
    shutil.rmtree(folder)
    for end in ends:
        if end.crash():
            return end.crash(), end.stderr
        if end.code != 0 and "error" not in end.stderr:
            return f"exit {end.code} without an error text", end.stderr
    # Of two cohorts each may win one run and be refused the other; what is left must be whole all the same.
    if all(end.code != 0 for end in ends) and lines[0][0] != "cohort":
        return "no run has won", ends[0].stderr
    for files, volatile in wanted:
        if set(now) == set(files) and all(now[p] == v for p, v in files.items() if p not in volatile):
            return None
    winners = sum(end.code == 0 for end in ends)
    files, volatile = wanted[0]
    odd = [p for p in now if p not in files] or [p for p in files if p not in volatile and now.get(p) != files[p]]
    return f"{winners} of {len(ends)} end with 0, and what is left is no run's: " + ", ".join(odd[:4]), ends[-1].stderr


def main():
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--commands", help="names, separated by commas [default: all]")
    args = parser.parse_args()
    names = chosen(args.commands)
    base, tally = Base(args.binary), Tally("races")
    try:
        with open(base.path("g.fa")) as genome, open(base.path("other.fa"), "w") as other:
            other.write(genome.read().replace("ACGT", "AGGT"))
        subprocess.run([base.binary, "pack", "signal", "-ibam", "r.bam", "-g", "g.fa", "-d", "ATAC", "--shift", "2/2",
                        "-o", "tmp/o.cbs", "--bigwig-out", "other.bw", "-q"], cwd=base.folder, check=True)
        shutil.rmtree(base.path("tmp"))
        shutil.os.mkdir(base.path("tmp"))
        for name in names:
            words, other = command_line(name), other_words(name)
            one = left(base, words)
            kinds = [("equal", [words, words], [one])]
            if other:
                kinds.append(("different", [words, other], [one, left(base, other)]))
            for kind, pair, wanted in kinds:
                for runs in (2, 8):
                    for _ in range(args.rounds):
                        tally.tried_one(name)
                        wrong = race(base, (pair * 4)[:runs], wanted)
                        if wrong:
                            tally.fault(name, f"{runs} {kind} runs", *wrong)
    finally:
        base.remove()
    tally.finish()


if __name__ == "__main__":
    main()
