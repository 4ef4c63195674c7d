"""Makes variants of a genome, one of every sort, and writes them in the schemas of variant-scorer.

    variant_list.py GENOME.fa HOW_MANY OUT

Writes OUT.chrombpnet.tsv and the same variants as OUT.bed.tsv, OUT.plink.tsv, OUT.original.tsv.
allele1 is what the genome has, but for every tenth substitution, whose alleles are swapped.
"""

import random
import sys

import pyfaidx

HALF = 1057
SORTS = ["snv", "snv", "snv", "mnv", "deletion", "insertion", "anchored deletion", "anchored insertion"]


def variants(genome, wanted, rng):
    contigs = [c for c in genome.keys() if len(genome[c]) > 20 * HALF]
    while wanted:
        contig = rng.choice(contigs)
        pos = rng.randrange(2 * HALF, len(genome[contig]) - 2 * HALF)
        there = str(genome[contig][pos : pos + 12]).upper()
        if set(there) - set("ACGT"):
            continue
        length = rng.randint(1, 10)
        made = "".join(rng.choice("ACGT") for _ in range(length))
        sort = SORTS[wanted % len(SORTS)]
        if sort == "snv":
            alleles = there[0], rng.choice([b for b in "ACGT" if b != there[0]])
            if wanted % 10 == 0:
                alleles = alleles[::-1]
        elif sort == "mnv":
            alleles = there[:length], made
        elif sort == "deletion":
            alleles = there[:length], "-"
        elif sort == "insertion":
            alleles = "-", made
        elif sort == "anchored deletion":
            alleles = there[: length + 1], there[0]
        else:
            alleles = there[0], there[0] + made
        yield contig, pos, *alleles, f"v{wanted}"
        wanted -= 1


def main():
    genome = pyfaidx.Fasta(sys.argv[1])
    rows = list(variants(genome, int(sys.argv[2]), random.Random(7)))
    schemas = {
        "chrombpnet": lambda c, p, a, b, i: (c, p + 1, a, b, i),
        "bed": lambda c, p, a, b, i: (c, p, p + 1, a, b, i),
        "plink": lambda c, p, a, b, i: (c, i, 0, p + 1, a, b),
        "original": lambda c, p, a, b, i: (c, p + 1, i, a, b),
    }
    for name, cells in schemas.items():
        with open(f"{sys.argv[3]}.{name}.tsv", "w") as out:
            for row in rows:
                print(*cells(*row), sep="\t", file=out)


main()
