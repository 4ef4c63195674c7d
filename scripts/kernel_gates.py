"""Checks what nvcc made of the kernels, against kernels/registers.tsv.

    scripts/kernel_gates.py KERNELS_FOLDER [--update]

KERNELS_FOLDER is where build.rs leaves *.fatbin and *.ptxas (target/kernels). For every kernel and GPU:
no stack, no spills, no more registers than recorded, no wgmma that the compiler made wait for each other;
in the machine code no local memory, and the instructions that the kernel stands on (tensor cores and how
they read their operands, asynchronous copies). A kernel that is missing on either side is an error.
--update records the registers seen, for a change that is meant.
"""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = os.path.join(ROOT, "kernels", "registers.tsv")
CUOBJDUMP = os.path.join(ROOT, ".tools", "cuda", "bin", "cuobjdump")

folder, update = sys.argv[1], "--update" in sys.argv[2:]
problems = []


def instructions(kernel):
    """What the machine code of a kernel must contain, by its name."""
    # What wgmma transposes, where operands come from, and tensor maps in the modes that are meant.
    transposed = {"forward": ".tnspB", "dgrad": "", "wgrad": ".tnspA.tnspB"}
    hopper = re.match(r"hopper_(?:rescale_)?(\w+?)_(f16|bf16)_n(\d+)$", kernel)
    if hopper:
        form = f"HGMMA.64x{hopper[3]}x16.F32" + (".BF16" if hopper[2] == "bf16" else "") + transposed[hopper[1]]
        stored = [] if hopper[1] == "wgrad" else ["UTMASTG", "LDSM", "STSM"]
        return [form, "UTMALDG.IM2COL", "UTMALDG.MULTICAST", "USETMAXREG"] + stored
    if kernel.startswith("matrix_ceiling_"):
        return ["HMMA"]
    # The input gradient takes its weights apart on their way into shared memory; nothing goes there as it is.
    head = re.match(r"head_(forward|input_gradient|weight_gradient)_(f16|bf16)$", kernel)
    if head:
        return ["HMMA", "LDSM"] + ([] if head[1] == "input_gradient" else ["LDGSTS"])
    if kernel == "hopper_int8_forward":
        return ["IGMMA.64x128x32.U8.S8", "UTMALDG.IM2COL", "UTMALDG.MULTICAST", "USETMAXREG", "UTMASTG", "LDSM", "STSM"]
    if kernel.startswith("int8_"):
        return ["IMMA", "LDGSTS", "LDSM"]
    tensor = re.match(r"(?:dilated|rescale)_\w+_(f16|bf16|tf32|f32x3)_n\d+$", kernel)
    if not tensor:
        return []
    # ldmatrix transposes 16-bit elements only, so 32-bit ones that lie the other way are read one by one.
    return ["HMMA", "LDGSTS"] + (["LDSM"] if tensor[1] in ("f16", "bf16") else [])


def reports():
    """(kernel, gpu) -> registers, from what ptxas said; stacks and spills are problems."""
    found = {}
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".ptxas"):
            continue
        key = None
        for line in open(os.path.join(folder, name)):
            entry = re.search(r"Compiling entry function '(\w+)' for '(\w+)'", line)
            if entry:
                key = entry.groups()
            if "(C75" in line:  # wgmma serialised: C7508, C7510 and their like
                problems.append(f"{' '.join(key) if key else name}: {line.strip()}")
            memory = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line)
            if memory and any(int(n) for n in memory.groups()):
                problems.append(f"{' '.join(key)}: {line.strip()}")
            registers = re.search(r"Used (\d+) registers", line)
            if registers:
                found[key] = int(registers[1])
    return found


def machine_code():
    """(kernel, gpu) -> set of opcodes, from the disassembly of every fatbin."""
    code, gpu, kernel = {}, None, None
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".fatbin"):
            continue
        dump = subprocess.run(
            [CUOBJDUMP, "-sass", os.path.join(folder, name)], capture_output=True, text=True, check=True
        )
        for line in dump.stdout.splitlines():
            if match := re.match(r"arch = (sm_\d+a?)", line):
                gpu = match[1]
            elif match := re.match(r"\s+Function : (\w+)", line):
                kernel = match[1]
                code.setdefault((kernel, gpu), set())
            elif match := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\d+\s+)?([A-Z][A-Z0-9]*)", line):
                if kernel:
                    code[kernel, gpu].add(match[1])
                    if match[1] in ("HGMMA", "IGMMA"):
                        form = re.search(r"[HI]GMMA\.[\w.]+", line)[0]
                        code[kernel, gpu].add(form + (re.search(r"gdesc\[\w+\]((?:\.\w+)*)", line)[1]))
                    for mode in ("IM2COL", "MULTICAST"):
                        if match[1] == "UTMALDG" and mode in line:
                            code[kernel, gpu].add(f"UTMALDG.{mode}")
    return code


seen = reports()
if not seen:
    sys.exit(f"error: no *.ptxas in {folder}\n  fix: run make kernels, which builds them")
kernels = sorted({kernel for kernel, _ in seen})
gpus = sorted({gpu for _, gpu in seen}, key=lambda gpu: (int(gpu[3:].rstrip("a")), gpu))

if update:
    with open(TABLE, "w") as table:
        print("kernel", *gpus, "instructions", sep="\t", file=table)
        for kernel in kernels:
            registers = [seen.get((kernel, gpu), "-") for gpu in gpus]
            print(kernel, *registers, ",".join(instructions(kernel)) or "-", sep="\t", file=table)

recorded, wanted_in = {}, {}
with open(TABLE) as table:
    _, *columns, _ = table.readline().rstrip("\n").split("\t")
    for line in table:
        kernel, *registers, wanted = line.rstrip("\n").split("\t")
        recorded[kernel] = {gpu: int(n) for gpu, n in zip(columns, registers) if n != "-"}
        wanted_in[kernel] = [] if wanted == "-" else wanted.split(",")
for kernel in kernels:
    if kernel not in recorded:
        problems.append(f"{kernel} is not in {TABLE}")
for kernel in sorted(recorded.keys() - set(kernels)):
    problems.append(f"{kernel} is in {TABLE}, but was not compiled")
for (kernel, gpu), registers in sorted(seen.items()):
    # A GPU without a column is one that only another nvcc knows.
    most = recorded.get(kernel, {}).get(gpu, registers)
    if registers > most:
        problems.append(f"{kernel} {gpu}: {registers} registers, recorded are {most}")

if os.path.exists(CUOBJDUMP):
    code = machine_code()
    for key in sorted(seen.keys() - code.keys()):
        problems.append(f"{' '.join(key)}: no machine code in the fatbin")
    for (kernel, gpu), opcodes in sorted(code.items()):
        local = sorted(opcodes & {"LDL", "STL"})
        if local:
            problems.append(f"{kernel} {gpu}: local memory ({', '.join(local)})")
        # On Hopper a kernel may come behind a programmatic edge: it waits there, and lets the next one come.
        waits = ["ACQBULK", "PREEXIT"] if gpu.startswith("sm_90") else []
        for wanted in wanted_in.get(kernel, []) + waits:
            if wanted not in opcodes:
                problems.append(f"{kernel} {gpu}: no {wanted} in its machine code")
        for form in sorted(opcodes - set(wanted_in.get(kernel, []))):
            if form.startswith(("HGMMA.", "IGMMA.")):
                problems.append(f"{kernel} {gpu}: {form} beside what is meant")
else:
    print(f"skipped: no {CUOBJDUMP}, so the machine code was not read", file=sys.stderr)
    if os.environ.get("CBP_REQUIRE_KERNELS") == "1":
        problems.append("CBP_REQUIRE_KERNELS=1, but the machine code could not be read")

if problems:
    sys.exit("error: the compiled kernels are not as they should be\n    " + "\n    ".join(problems))
print(f"{len(kernels)} kernels for {', '.join(gpus)}: no spills, no stack, at most {max(seen.values())} registers")
