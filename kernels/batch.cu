// batch: plan rows -> base codes and counts, from the packed genome and signal in device memory.
//
//   codes[b][i]   base of plan[cursor + b].start + i: 0..3 = ACGT, 4 = N or outside the contig;
//                 with REVCOMP codes[b][inputlen - 1 - i] is the complement of that base
//   counts[b][i]  count at start + (inputlen - outputlen) / 2 + i, reversed with REVCOMP; 0 where
//                 nothing is stored, outside the contig, or where the signal lacks the contig
//   Rows from `examples` on are N and 0.
//
// in   plan [plan_len] of 16 bytes; bases: nibbles, low first, one-hot (store/genome.rs); offsets u16,
//      values u16 or f32 and bins u64 (store/signal.rs); the two contig tables
// out  codes u8 [batch, inputlen]   counts f32 [batch, outputlen]
// meaning: exactly `Tracks::fill_codes` and `fill_counts` (src/store/tracks.rs)
//
//   block        256 threads, one row's codes or counts   grid (batch, 2), second is codes | counts
//   search       one warp, 32 pivots at a time: four dependent loads instead of sixteen
//   floor        64 examples move 0.7 MB: launch latency
//   measured     unmeasured
//   registers    at most 36
//   tolerance    exact

#include "step.cuh"

constexpr uint32_t THREADS = 256;
constexpr uint64_t BIN = 1 << 16;  // bp of a bin of the signal pack
constexpr uint32_t NO_VALUES = 0, VALUES_U16 = 1;  // 2: f32

struct GenomeContig {
  uint64_t first_byte;  // in bases
  uint64_t length;      // bp
};

// Signal of a genome contig; of length 0 where the signal lacks it.
struct SignalContig {
  uint64_t first_bin;
  uint64_t length;
};

struct BatchArgs {
  Global<StepState> state;
  Global<Example> plan;
  Global<GenomeContig> genome;
  Global<uint8_t> bases;
  Global<SignalContig> signal;
  Global<uint64_t> bins;
  Global<uint16_t> offsets;
  Global<uint8_t> values;  // read as value_type says
  Global<uint8_t> codes;
  Global<float> counts;
  uint64_t entries;  // of offsets and values
  uint32_t inputlen;
  uint32_t outputlen;
  uint32_t value_type;  // NO_VALUES: counts are not wanted (predictions)
  uint32_t padding;
};

// Code of a one-hot nibble.
CBP_DEVICE uint8_t base_code(uint32_t nibble) {
  return nibble == 1 ? 0 : nibble == 2 ? 1 : nibble == 4 ? 2 : nibble == 8 ? 3 : 4;
}

CBP_DEVICE void fill_codes(const BatchArgs& p, uint32_t b, const Example& e, bool present) {
  GenomeContig contig{0, 0};
  if (present) contig = p.genome[e.contig];
  const bool reverse = e.flags & EXAMPLE_REVCOMP;
  for (uint32_t i = threadIdx.x; i < p.inputlen; i += THREADS) {
    const uint64_t at = (uint64_t)e.start + (reverse ? p.inputlen - 1 - i : i);
    uint8_t code = 4;
    if (at < contig.length) {
      const uint32_t byte = p.bases[contig.first_byte + at / 2];
      code = base_code(at % 2 ? byte >> 4 : byte & 15);
      if (reverse && code < 4) code = 3 - code;
    }
    p.codes[(size_t)b * p.inputlen + i] = code;
  }
}

// First entry of [low, high) whose offset is at least `wanted`. Every warp searches on its own; its
// lanes look at 32 places at once.
CBP_DEVICE uint64_t lower_bound(Global<uint16_t> offsets, uint64_t low, uint64_t high, uint32_t wanted) {
  while (low < high) {
    // Lane l looks at the last place of its share; the shares cover [low, high).
    const uint64_t share = (high - low + 31) / 32;
    const uint64_t last = low + share * (lane() + 1) - 1;
    bool smaller = false;
    if (last < high) smaller = offsets[last] < wanted;
    // Offsets ascend, so the lanes that are smaller come first. In a damaged pack they need not:
    // then counts are wrong, but the range still shrinks and stays inside.
    const uint32_t shares = popcount(ballot(smaller));
    low += share * shares;
    high = low + share - 1 < high ? low + share - 1 : high;
  }
  return low;
}

CBP_DEVICE float value_at(const BatchArgs& p, uint64_t i) {
  if (p.value_type == VALUES_U16) {
    const uint16_t v = p.values.template as<uint16_t>()[i];
    return (float)v;
  }
  return p.values.template as<float>()[i];
}

CBP_DEVICE void fill_counts(const BatchArgs& p, uint32_t b, const Example& e, bool present) {
  Global<float> out = p.counts + (size_t)b * p.outputlen;
  for (uint32_t i = threadIdx.x; i < p.outputlen; i += THREADS) out[i] = 0.0f;
  block_sync();  // zeros before counts
  if (!present) return;
  const SignalContig contig = p.signal[e.contig];
  const uint64_t start = (uint64_t)e.start + (p.inputlen - p.outputlen) / 2;
  const uint64_t from = start < contig.length ? start : contig.length;
  const uint64_t end = start + p.outputlen < contig.length ? start + p.outputlen : contig.length;
  const bool reverse = e.flags & EXAMPLE_REVCOMP;
  for (uint64_t bin = from / BIN; bin * BIN < end; bin++) {
    const uint64_t low = p.bins[contig.first_bin + bin];
    const uint64_t next = p.bins[contig.first_bin + bin + 1];
    const uint64_t high = next < p.entries ? next : p.entries;
    const uint64_t position = bin * BIN;
    const uint64_t first =
        lower_bound(p.offsets, low, high, from > position ? (uint32_t)(from - position) : 0);
    for (uint64_t entry = first + threadIdx.x; entry < high; entry += THREADS) {
      const uint16_t offset = p.offsets[entry];
      const uint64_t at = position + offset;
      if (at >= end) break;
      // counts[i] <- signal[start + i]; the test only matters for a damaged, unsorted bin
      const uint64_t i = at - start;
      if (i < p.outputlen) out[reverse ? p.outputlen - 1 - i : i] = value_at(p, entry);
    }
  }
}

CBP_KERNEL(batch, BatchArgs, THREADS, 1) {
  const uint32_t b = blockIdx.x;
  const uint32_t examples = member(p.state, &StepState::examples)[0];
  const uint32_t cursor = member(p.state, &StepState::cursor)[0];
  const bool present = b < examples;
  Example e{0, 0, 0, 0};
  if (present) e = p.plan[cursor + b];
  if (blockIdx.y == 0) {
    fill_codes(p, b, e, present);
  } else if (p.value_type != NO_VALUES) {
    fill_counts(p, b, e, present);
  }
}
