"""Kills every command that writes at random moments, and runs it again.

    tests/campaigns/kills.py --binary PATH [--kills N] [--seed S] [--jobs J] [--commands A,B]

SIGKILL, SIGTERM and SIGINT in turn, each after a random share of the time that an undisturbed run takes;
up to three kills in a row, then the same command to its end. What is asserted:

    after a kill      no panic; inputs unchanged; under final names complete files only; after SIGTERM
                      and SIGINT no temporary file
    after the end     exit 0, the bytes of an undisturbed run, no file that such a run does not leave:
                      no temporary file, lock or partial output
"""

import concurrent.futures
import os
import random
import shutil
import signal
import subprocess
import time

from experiment import arguments, chosen, command_line, drawn, environment, run, tree, Base, Tally, Undisturbed

SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]


def killed(words, folder, number, after):
    """(exit code, stderr) of a run that gets the signal after `after` seconds."""
    with open(os.path.join(folder, "..", os.path.basename(folder) + ".err"), "w+b") as said:
        process = subprocess.Popen(words, cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=said)
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
        said.seek(0)
        return code, said.read().decode(errors="replace")


def attempt(base, name, normal, plan):
    """None, or what is wrong and what was said. `plan`: (signal, seconds) of each kill."""
    folder = base.copy()
    words = [base.binary, *command_line(name)]
    try:
        for number, after in plan:
            # What SIGKILL left, a run sweeps that lives long enough to write there.
            before = set(tree(folder))
            code, said = killed(words, folder, number, after)
            if code is None:
                return f"does not end after {number.name}", said
            if "panicked at" in said:
                return f"panic at {number.name}", said
            wrong = normal.differences(folder, code == 0, said)
            left_over = " is left over"
            wrong = [w for w in wrong if not w.endswith(left_over)
                     or (number != signal.SIGKILL and w.removesuffix(left_over) not in before)]
            if wrong:
                return f"after {number.name}, exit {code}: " + ", ".join(wrong[:4]), said
            if code == 0:
                break
        ended = run(words, folder)
        if ended.code != 0 and "already" in ended.stderr and code == 0:
            # It had come to its end before the kill, and does not replace what is there.
            return None
        if ended.code != 0 and "--force" in ended.stderr:
            ended = run([*words, "--force"], folder)
        wrong = ended.crash()
        if wrong is None and ended.code != 0:
            wrong = f"exit {ended.code}"
        if wrong is None:
            wrong = ", ".join(normal.differences(folder, True, ended.stderr)[:4]) or None
        return wrong and ("rerun: " + wrong, ended.stderr)
    finally:
        shutil.rmtree(folder)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=300)
    drawn(parser)
    parser.add_argument("--commands", help="names, separated by commas [default: all]")
    args = parser.parse_args()
    names = chosen(args.commands)
    rng = random.Random(args.seed)
    base, tally = Base(args.binary), Tally("kills")
    try:
        normal, seconds = {}, {}
        for name in names:
            start = time.monotonic()
            normal[name] = Undisturbed(base, name)
            seconds[name] = (time.monotonic() - start) / 2
        plans, kills = [], 0
        while kills < args.kills:
            name = names[len(plans) % len(names)]
            plan = [(SIGNALS[(len(plans) // len(names) + i) % 3], seconds[name] * rng.uniform(0.01, 1))
                    for i in range(rng.randrange(1, 4))]
            plans.append((name, plan))
            kills += len(plan)
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            work = {pool.submit(attempt, base, name, normal[name], plan): (name, plan) for name, plan in plans}
            for done in concurrent.futures.as_completed(work):
                name, plan = work[done]
                for _ in plan:
                    tally.tried_one(name)
                if done.result():
                    how = " then ".join(f"{number.name} after {after:.3f} s" for number, after in plan)
                    tally.fault(name, how, *done.result())
    finally:
        base.remove()
    tally.finish()


if __name__ == "__main__":
    main()
