//! Examples at the foot of each command's help. Every one is parsed in tests.

pub const TRAIN: &str = "\
Examples:
  # one fold of an ATAC sample, from reads
  cbp-fast train -g hg38.fa.gz -c hg38.chrom.sizes -ibam sample.bam -d ATAC \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json \\
      -b bias.h5 -o out/fold_0
  # from a bigWig of shifted cut sites, on the second GPU
  cbp-fast train -g hg38.fa.gz -c hg38.chrom.sizes --bigwig sample.bw -d DNASE \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json \\
      -b bias.h5 -o out/fold_0 --device cuda:1
  # two replicates pooled, a small model, on the CPU
  cbp-fast train -g genome.fa -c chrom.sizes -ibam a.bam -ibam b.bam -d ATAC \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json \\
      -b bias.h5 -fil 64 -o out/small --device cpu";

pub const BIAS_TRAIN: &str = "\
Examples:
  # the enzyme's preference, from background regions
  cbp-fast bias train -g hg38.fa.gz -c hg38.chrom.sizes -ibam sample.bam -d ATAC \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -b 0.5 -o out/bias
  # Cell Ranger's fragments, whose shift is known
  cbp-fast bias train -g hg38.fa.gz -c hg38.chrom.sizes -d ATAC \\
      -ifrag fragments.tsv.gz --shift +4/-5 \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -o out/bias
  # start over with another threshold
  cbp-fast bias train -g hg38.fa.gz -c hg38.chrom.sizes -itag sample.tagAlign.gz \\
      -d DNASE -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json \\
      -b 0.8 -o out/bias --force";

pub const PIPELINE: &str = "\
Examples:
  # reads to report
  cbp-fast pipeline -g hg38.fa.gz -c hg38.chrom.sizes -ibam sample.bam -d ATAC \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -b bias.h5 -o out/run
  # no contribution scores and motifs; a failed verdict is an exit code
  cbp-fast pipeline -g hg38.fa.gz -c hg38.chrom.sizes -ibam sample.bam -d ATAC \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -b bias.h5 -o out/run \\
      --num-interpret 0 --strict
  # name the motifs that are found
  cbp-fast pipeline -g hg38.fa.gz -c hg38.chrom.sizes -ibam sample.bam -d ATAC \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -b bias.h5 -o out/run \\
      --meme-db motifs.meme.txt";

pub const BIAS_PIPELINE: &str = "\
Examples:
  # bias model, evaluation, report
  cbp-fast bias pipeline -g hg38.fa.gz -c hg38.chrom.sizes -ibam sample.bam \\
      -d ATAC -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -o out/bias
  # from a bigWig, without contribution scores
  cbp-fast bias pipeline -g hg38.fa.gz -c hg38.chrom.sizes --bigwig sample.bw \\
      -d DNASE -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -o out/bias \\
      --num-interpret 0
  # another threshold for background
  cbp-fast bias pipeline -g hg38.fa.gz -c hg38.chrom.sizes -ibam sample.bam \\
      -d ATAC -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -b 0.4 -o out/bias";

pub const QC: &str = "\
Examples:
  # evaluate an official model
  cbp-fast qc -cm chrombpnet.h5 -cmb chrombpnet_nobias.h5 --bigwig sample.bw \\
      -g hg38.fa.gz -c hg38.chrom.sizes -d ATAC \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -o out/qc
  # predictions and footprints only
  cbp-fast qc -cm chrombpnet.h5 -cmb chrombpnet_nobias.h5 --bigwig sample.bw \\
      -g hg38.fa.gz -c hg38.chrom.sizes -d ATAC \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -o out/qc \\
      --num-interpret 0
  # an exit code where a verdict is a fail
  cbp-fast qc -cm chrombpnet.h5 -cmb chrombpnet_nobias.h5 --bigwig sample.bw \\
      -g hg38.fa.gz -c hg38.chrom.sizes -d ATAC \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -o out/qc --strict";

pub const BIAS_QC: &str = "\
Examples:
  # evaluate a bias model
  cbp-fast bias qc -bm bias.h5 --bigwig sample.bw \\
      -g hg38.fa.gz -c hg38.chrom.sizes -d ATAC \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -o out/qc
  # predictions and footprints only
  cbp-fast bias qc -bm bias.h5 --bigwig sample.bw \\
      -g hg38.fa.gz -c hg38.chrom.sizes -d ATAC \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -o out/qc \\
      --num-interpret 0
  # a bias model of ENCODE's archive
  cbp-fast bias qc -bm fold_0.bias_scaled.tar --bigwig sample.bw \\
      -g hg38.fa.gz -c hg38.chrom.sizes -d ATAC \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -o out/qc";

pub const PREDICT: &str = "\
Examples:
  # regions, mean of five folds: bigWig, h5, table
  cbp-fast predict -cmb fold_*/chrombpnet_nobias.h5 -r peaks.narrowPeak \\
      -g hg38.fa.gz -c hg38.chrom.sizes -o out/sample
  # the test chromosomes of a fold against the observed counts: metrics
  cbp-fast predict -m chrombpnet.h5 -p peaks.narrowPeak -n nonpeaks.bed \\
      -fl fold_0.json -g hg38.fa.gz --bigwig sample.bw -o out/test
  # sequences that are in no genome
  cbp-fast predict -m chrombpnet_nobias.h5 --fasta designed.fa -o out/designed";

pub const CONTRIBS: &str = "\
Examples:
  # both heads: h5 for modisco and finemo, bigWigs
  cbp-fast contribs -m chrombpnet_nobias.h5 -r peaks.narrowPeak \\
      -g hg38.fa.gz -c hg38.chrom.sizes -o out/sample
  # counts only, mean of five folds
  cbp-fast contribs -m fold_*/chrombpnet_nobias.h5 -r peaks.narrowPeak -pc counts \\
      -g hg38.fa.gz -c hg38.chrom.sizes -o out/sample
  # in-silico mutagenesis of sequences
  cbp-fast contribs -m chrombpnet_nobias.h5 --fasta designed.fa --method ism \\
      -o out/designed";

pub const VARIANTS: &str = "\
Examples:
  # a VCF, mean of five folds, quantiles among peaks
  cbp-fast variants -l variants.vcf.gz -m fold_*/chrombpnet_nobias.h5 \\
      -g hg38.fa.gz -p peaks.narrowPeak -o out/sample
  # a list: chr, position, allele1, allele2, id; no p-values
  cbp-fast variants -l variants.tsv -sc chrombpnet -m chrombpnet_nobias.h5 \\
      -g hg38.fa.gz --num-shuf 0 -o out/sample
  # with contribution scores of both alleles
  cbp-fast variants -l variants.vcf.gz -m chrombpnet_nobias.h5 \\
      -g hg38.fa.gz -st counts profile -o out/sample";

pub const FOOTPRINTS: &str = "\
Examples:
  # is the enzyme's bias gone?
  cbp-fast footprints -m chrombpnet_nobias.h5 -r nonpeaks.bed -g hg38.fa.gz \\
      -fl fold_0.json -d ATAC -o out/sample
  # motifs of your own: lines of name, tab, sequence
  cbp-fast footprints -m chrombpnet_nobias.h5 -r nonpeaks.bed -g hg38.fa.gz \\
      -fl fold_0.json -pwm_f motifs.tsv -o out/sample
  # five folds, one scale for all figures
  cbp-fast footprints -m fold_*/chrombpnet_nobias.h5 -r nonpeaks.bed -g hg38.fa.gz \\
      -fl fold_0.json -d DNASE --ylim 0,0.01 -o out/sample";

pub const MOTIFS: &str = "\
Examples:
  # motifs in the contribution scores of a pipeline
  cbp-fast motifs -o out/run
  # of the counts head, named after a database
  cbp-fast motifs -o out/run -pc counts -m motifs.meme.txt
  # a program that is not on PATH
  cbp-fast motifs -o out/run --modisco env/bin/modisco";

pub const COHORT: &str = "\
Examples:
  # RUNS holds command lines, one a run:
  #   bias train -g hg38.fa.gz ... -fl fold_0.json -o out/fold_0
  #   bias train -g hg38.fa.gz ... -fl fold_1.json -o out/fold_1
  cbp-fast cohort runs.txt
  # two at a time
  cbp-fast cohort runs.txt --at-once 2
  # only warnings
  cbp-fast cohort runs.txt --quiet";

pub const REPORT: &str = "\
Examples:
  # the page of a run, made again
  cbp-fast report -o out/run
  # with observed counts that have moved
  cbp-fast report -o out/run --bigwig sample.bw
  # in another place
  cbp-fast report -o out/run --html pages/sample.html";

pub const CHECK: &str = "\
Examples:
  # before hours are spent: put check in front of the command
  cbp-fast check train -g hg38.fa.gz -c hg38.chrom.sizes -ibam sample.bam -d ATAC \\
      -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -b bias.h5 -o out/fold_0
  # hold the peaks against a blacklist, too
  cbp-fast check bias pipeline -g hg38.fa.gz -c hg38.chrom.sizes -ibam sample.bam \\
      -d ATAC -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -o out/bias \\
      -br blacklist.bed
  # for scripts
  cbp-fast check pipeline -g hg38.fa.gz -c hg38.chrom.sizes -ibam sample.bam \\
      -d ATAC -p peaks.narrowPeak -n nonpeaks.bed -fl fold_0.json -b bias.h5 \\
      -o out/run --json";

pub const PREP_NONPEAKS: &str = "\
Examples:
  # background of one fold
  cbp-fast prep nonpeaks -g hg38.fa.gz -c hg38.chrom.sizes -p peaks.narrowPeak \\
      -fl fold_0.json -br blacklist.bed -o out/sample
  # of five folds, in one pass
  cbp-fast prep nonpeaks -g hg38.fa.gz -c hg38.chrom.sizes -p peaks.narrowPeak \\
      --all-folds fold_0.json fold_1.json fold_2.json fold_3.json fold_4.json \\
      -o out/sample
  # a small genome: windows closer together
  cbp-fast prep nonpeaks -g genome.fa -c chrom.sizes -p peaks.narrowPeak \\
      -fl fold_0.json -st 50 -o out/sample";

pub const PREP_SPLITS: &str = "\
Examples:
  # the five published folds of human
  cbp-fast prep splits -c hg38.chrom.sizes --published human -op fold
  # five folds of any genome
  cbp-fast prep splits -c chrom.sizes --k 5 -op fold
  # one fold, by name
  cbp-fast prep splits -c hg38.chrom.sizes -tcr chr1 chr3 chr6 -vcr chr8 chr20 \\
      -op fold_0";

pub const PACK: &str = "\
Examples:
  # the genome, once for all samples
  cbp-fast pack genome -g hg38.fa.gz -o hg38.cbg
  # reads to counts per base, as a pack and as a bigWig
  cbp-fast pack signal -ibam sample.bam -g hg38.cbg -d ATAC -o sample.cbs \\
      --bigwig-out sample.bw
  # the enzyme's pattern around the cut sites of a bigWig
  cbp-fast pack shift-qc --bigwig sample.bw -g hg38.cbg -d ATAC -op out/shift";

pub const DEMO: &str = "\
Examples:
  # simulate, train, compare with the truth
  cbp-fast demo -o demo-out
  # other data, other weights
  cbp-fast demo -o demo-out --seed 7 --force
  # on a GPU
  cbp-fast demo -o demo-out --device cuda --force";

pub const DOCTOR: &str = "\
Examples:
  # driver, GPUs, kernels, instruction sets
  cbp-fast doctor
  # compute every kernel on the GPU and compare with the CPU
  cbp-fast doctor --selftest --device cuda
  # for scripts
  cbp-fast doctor --json";

pub const BENCH: &str = "\
Examples:
  # training steps of the official size
  cbp-fast bench train
  # contribution scores and predictions
  cbp-fast bench contribs --regions 2
  # every kernel of a step, on a GPU
  cbp-fast bench kernels --device cuda --precision bf16";

pub const COMPLETIONS: &str = "\
Examples:
  cbp-fast completions bash > ~/.local/share/bash-completion/completions/cbp-fast
  cbp-fast completions zsh > ~/.zfunc/_cbp-fast
  cbp-fast completions fish > ~/.config/fish/completions/cbp-fast.fish";

pub const MAN: &str = "\
Examples:
  # for this user
  cbp-fast man ~/.local/share/man/man1
  # for everyone
  cbp-fast man /usr/local/share/man/man1
  # one page for each command
  cbp-fast man pages";
