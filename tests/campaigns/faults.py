"""Fails system calls of every command that writes, one at a time.

    tests/campaigns/faults.py --binary PATH [--sample N] [--seed S] [--jobs J] [--commands A,B]

For each command an undisturbed run is traced. Then each call on a file of the working folder fails once,
and from then on: writing with ENOSPC and EIO, syncing, renaming, making and opening with EIO or ENOSPC,
mapping with ENOMEM, reading with EIO, and making threads with EAGAIN. What is asserted:

    exit 0        every file of the undisturbed run is there with the same bytes, and nothing else
    exit 1        an error text; no file under a final name that is not complete; no temporary file
    never         a panic, a signal, a hang, a changed input

A call is told by its place among the calls of its kind in its thread. Messages may be lost: calls on
stdout and stderr are not failed on their own. Files that differ between two undisturbed runs are
compared by name only; pages may lack what a warning names. --sample N takes N failures at random (of --seed),
spread over the commands. Needs strace.
"""

import concurrent.futures
import os
import random
import re
import shutil
import subprocess

from experiment import arguments, chosen, command_line, drawn, environment, run, Base, Tally, Undisturbed

# Call -> the errors it fails with.
ERRORS = {
    "write": ["ENOSPC", "EIO"], "pwrite64": ["ENOSPC", "EIO"], "writev": ["ENOSPC"], "pwritev": ["ENOSPC"],
    "copy_file_range": ["ENOSPC"], "fsync": ["EIO"], "fdatasync": ["EIO"], "msync": ["EIO"],
    "ftruncate": ["ENOSPC"], "fallocate": ["ENOSPC"], "rename": ["EIO"], "renameat": ["EIO"], "renameat2": ["EIO"],
    "link": ["EIO"], "linkat": ["EIO"], "mkdir": ["ENOSPC"], "mkdirat": ["ENOSPC"], "openat": ["ENOSPC", "EIO"],
    "read": ["EIO"], "pread64": ["EIO"], "mmap": ["ENOMEM"], "clone3": ["EAGAIN"],
}
# From then on would fail the loader's or the allocator's own calls, which no program survives.
ONCE_ONLY = {"mmap"}


def calls(base, name):
    """(call, place in its thread) of all calls worth failing, in a fixed order."""
    folder = base.copy()
    log = os.path.join(folder, "tmp", "trace")
    trace = ["strace", "-f", "-y", "-qq", "-s", "0", "-e", "trace=" + ",".join(ERRORS), "-o", log]
    subprocess.run([*trace, base.binary, *command_line(name)], cwd=folder, env=environment(folder),
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    counts, found = {}, {}
    with open(log) as lines:
        for line in lines:
            match = re.match(r"(\d+) +(\w+)\((.*)", line)
            if not match:
                continue
            thread, call, rest = match.groups()
            place = counts[thread, call] = counts.get((thread, call), 0) + 1
            relative = call in ("openat", "mkdir", "rename", "link") and re.match(r'(AT_FDCWD<[^>]*>, )?"[^/]', rest)
            if call == "clone3" or folder in rest.replace("AT_FDCWD<" + folder + ">", "") or relative:
                found[call, place] = None
    shutil.rmtree(folder)
    return list(found)


def attempt(base, name, normal, call, error, when):
    """None, or what is wrong and what the run said."""
    folder = base.copy()
    inject = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={call}",
              "-e", f"inject={call}:error={error}:when={when}"]
    ended = run([*inject, base.binary, *command_line(name)], folder)
    wrong = ended.crash()
    if wrong is None:
        differences = normal.differences(folder, ended.code == 0, ended.stderr)
        if call == "write" and when.endswith("+"):
            # The warnings that name figures which cannot be written are lost, too.
            differences = [d for d in differences if not d.endswith(".png is missing")]
        if differences:
            wrong = f"exit {ended.code}, " + ", ".join(differences[:4])
        elif ended.code != 0 and "error" not in ended.stderr and not when.endswith("+"):
            wrong = f"exit {ended.code} without an error text"
    shutil.rmtree(folder)
    return wrong and (wrong, ended.stderr)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--sample", type=int, help="failures to try in all [default: every one]")
    drawn(parser)
    parser.add_argument("--commands", help="names, separated by commas [default: all]")
    args = parser.parse_args()
    if not shutil.which("strace"):
        raise SystemExit("error: no strace\n  fix: install the package strace")
    names = chosen(args.commands)
    base, tally = Base(args.binary), Tally("failed calls")
    try:
        plan = []
        for index, name in enumerate(names):
            normal = Undisturbed(base, name)
            own = [(name, normal, call, error, when)
                   for call, place in calls(base, name) for error in ERRORS[call]
                   for when in [str(place)] + ([] if call in ONCE_ONLY else [f"{place}+"])]
            if args.sample is not None:
                share = args.sample * (index + 1) // len(names) - args.sample * index // len(names)
                own = random.Random(f"{args.seed} {name}").sample(own, min(share, len(own)))
            plan += own
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            work = {pool.submit(attempt, base, *one): one for one in plan}
            for done in concurrent.futures.as_completed(work):
                name, _, call, error, when = work[done]
                tally.tried_one(name)
                if done.result():
                    tally.fault(name, f"inject={call}:error={error}:when={when}", *done.result())
    finally:
        base.remove()
    tally.finish()


if __name__ == "__main__":
    main()
