// Where operands come from: (row or k of a tile, tap) -> address, for the three passes.
//
// Activations and gradients are flat matrices [B * L, C], so tiles of rows run across the borders
// of examples and only the very last one is ragged. A row m of the output is position l of example
// n, and tap t reads position l + shift of the same example in the source; a position outside the
// source is zeros.
//
// Each class visits the 16-byte chunks that this thread copies: `put(part, i, source, valid)`,
// where chunk i of `part` (Share) is the place in the stage. `source` is meaningless unless valid.
// The portable core puts by cp.async, the plain one by loads and stores.
#pragma once
#include "tile.cuh"

constexpr uint32_t TAPS = 3;

// The flat rows of one tensor as seen from the flat rows of another with the same examples.
struct RowMap {
  FastDiv length;          // positions per example of the rows being walked
  uint32_t rows;           // B * length
  uint32_t source_length;  // positions per example of the source

  // A walked row: first source row of its example, and its position.
  struct Place {
    uint32_t example;
    int32_t position;

    // position + shift is inside the source
    CBP_DEVICE bool inside(int32_t shift, uint32_t source_length) const {
      return uint32_t(position + shift) < source_length;  // negative: far above
    }
    CBP_DEVICE uint32_t row(int32_t shift) const { return example + position + shift; }
  };

  CBP_DEVICE Place place(uint32_t m) const {
    const uint32_t n = length.div(m);
    // Rows past the last: a position that no shift (< 2^29) brings inside.
    return m < rows ? Place{n * source_length, int32_t(m - n * length.d)} : Place{0, -(1 << 30)};
  }

  // Bit t is set if tap t, which reads position l + t * step, falls inside the source for some
  // of the rows m0 .. m0 + count.
  CBP_DEVICE uint32_t taps(uint32_t m0, uint32_t count, int32_t step) const {
    const uint32_t last = min_u32(m0 + count, rows) - 1;
    const uint32_t example = length.div(m0), last_example = length.div(last);
    // Positions covered are [first, L) and [0, end) if the tile crosses into a next example.
    const int32_t first = m0 - example * length.d;
    const int32_t end = last - last_example * length.d + 1;
    const int32_t whole = length.d;
    const bool crosses = example != last_example;
    uint32_t set = 0;
#pragma unroll
    for (uint32_t t = 0; t < TAPS; t++) {
      // l is inside for l in [low, high)
      const int32_t low = -int32_t(t) * step, high = low + int32_t(source_length);
      const bool some = crosses ? (first < high && low < whole) || (0 < high && low < end) ||
                                      last_example - example > 1
                                : first < high && low < end;
      set |= uint32_t(some) << t;
    }
    return set;
  }

  static CBP_DEVICE uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }
};

// The chunks of a stage that a thread copies: one column of chunks, every STRIDE-th row.
template <class Stage, int THREADS>
struct Share {
  static constexpr int STRIDE = THREADS / Stage::CHUNKS;
  static constexpr int COPIES = Stage::ROWS / STRIDE;
  static_assert(THREADS % Stage::CHUNKS == 0 && Stage::ROWS % STRIDE == 0,
                "every thread copies the same number of chunks");
  uint32_t row, chunk;

  CBP_DEVICE Share() : row(threadIdx.x / Stage::CHUNKS), chunk(threadIdx.x % Stage::CHUNKS) {}
  CBP_DEVICE uint32_t row_of(int i) const { return row + i * STRIDE; }
  CBP_DEVICE uint32_t column() const { return chunk * Stage::PER_CHUNK; }
  CBP_DEVICE uint32_t offset_of(int i) const {
    static_assert(STRIDE % Stage::PERIOD == 0 || COPIES == 1,
                  "the chunks of a thread are permuted alike, so evenly spaced");
    return Stage::offset(row, chunk) + i * (STRIDE * Stage::PITCH);
  }
};

// Rows of a tile against channels, K-major: A of forward and of dgrad.
// a[m, (t, c)] = source[n, l + t * step, c] for row m = (n, l)
template <class Stage, int THREADS>
struct ShiftedRows {
  using T = typename Stage::Element;
  using Part = Share<Stage, THREADS>;
  Global<const T> source;
  uint32_t channels, source_length;
  int32_t step;
  Part part;
  RowMap::Place place[Part::COPIES];

  CBP_DEVICE ShiftedRows(Global<const T> source, uint32_t channels, const RowMap& map, int32_t step,
                         uint32_t m0)
      : source(source), channels(channels), source_length(map.source_length), step(step) {
#pragma unroll
    for (int i = 0; i < Part::COPIES; i++) place[i] = map.place(m0 + part.row_of(i));
  }

  template <class Put>
  CBP_DEVICE void visit(uint32_t tap, uint32_t c0, Put put) const {
    const int32_t shift = int32_t(tap) * step;
    const Global<const T> column = source + (c0 + part.column());
#pragma unroll
    for (int i = 0; i < Part::COPIES; i++)
      put(part, i, column + uint64_t(place[i].row(shift)) * channels,
          place[i].inside(shift, source_length));
  }
};

// Weights in Keras order [tap][ci][co]: B of forward (k = ci, n = co: MN-major) and of dgrad
// (k = co, n = ci: K-major), the same bytes either way.
template <class Stage, int THREADS>
struct Weights {
  using T = typename Stage::Element;
  using Part = Share<Stage, THREADS>;
  Global<const T> weights;
  uint32_t channels, n0;
  Part part;

  CBP_DEVICE Weights(Global<const T> weights, uint32_t channels, uint32_t n0)
      : weights(weights), channels(channels), n0(n0) {}

  template <class Put>
  CBP_DEVICE void visit(uint32_t tap, uint32_t c0, Put put) const {
    constexpr bool K_MAJOR = Stage::MAJOR == Major::K;
    const uint32_t row = (K_MAJOR ? n0 : c0) + part.row_of(0);
    const uint32_t column = (K_MAJOR ? c0 : n0) + part.column();
    const uint64_t first = uint64_t(tap * channels + row) * channels + column;
#pragma unroll
    for (int i = 0; i < Part::COPIES; i++)
      put(part, i, weights + (first + i * Part::STRIDE * channels), true);
  }
};

// Inputs against flat rows, MN-major: A of wgrad.
// a[(t, ci), k] = x[n, l + t * d, ci] for k = (n, l). A thread's column fixes its tap.
template <class Stage, int THREADS>
struct TapColumns {
  using T = typename Stage::Element;
  using Part = Share<Stage, THREADS>;
  Global<const T> source;
  RowMap map;
  uint32_t channels, channel;
  int32_t shift;
  bool inside;  // the column exists: the last tile of 3 * C may be ragged
  Part part;

  CBP_DEVICE TapColumns(Global<const T> source, uint32_t channels, const RowMap& map,
                        int32_t dilation, uint32_t m0)
      : source(source), map(map), channels(channels) {
    const uint32_t m = m0 + part.column(), tap = m / channels;
    inside = tap < TAPS;
    channel = m - tap * channels;
    shift = int32_t(tap) * dilation;
  }

  template <class Put>
  CBP_DEVICE void visit(uint32_t k0, Put put) const {
    const Global<const T> column = source + channel;
#pragma unroll
    for (int i = 0; i < Part::COPIES; i++) {
      const RowMap::Place place = map.place(k0 + part.row_of(i));
      put(part, i, column + uint64_t(place.row(shift)) * channels,
          inside && place.inside(shift, map.source_length));
    }
  }
};

// Gradients against flat rows, MN-major: B of wgrad. b[k, co] = dz[k, co]
template <class Stage, int THREADS>
struct FlatRows {
  using T = typename Stage::Element;
  using Part = Share<Stage, THREADS>;
  Global<const T> source;
  uint32_t channels, rows, n0;
  Part part;

  CBP_DEVICE FlatRows(Global<const T> source, uint32_t channels, uint32_t rows, uint32_t n0)
      : source(source), channels(channels), rows(rows), n0(n0) {}

  template <class Put>
  CBP_DEVICE void visit(uint32_t k0, Put put) const {
    const uint64_t first = uint64_t(k0 + part.row_of(0)) * channels + n0 + part.column();
#pragma unroll
    for (int i = 0; i < Part::COPIES; i++)
      put(part, i, source + (first + i * Part::STRIDE * channels), k0 + part.row_of(i) < rows);
  }
};

// The steps of k = (tap, channel), in order, over a set of taps.
struct TapSteps {
  uint32_t left, tap, channel, channels;

  CBP_DEVICE TapSteps(uint32_t set, uint32_t channels)
      : left(set), tap(0), channel(0), channels(channels) {
    next_tap();
  }
  CBP_DEVICE void advance(uint32_t step) {
    channel += step;
    if (channel == channels) {
      channel = 0;
      next_tap();
    }
  }

 private:
  // Moves to the lowest tap of `left` and takes it out.
  CBP_DEVICE void next_tap() {
    tap = left & 1 ? 0 : left & 2 ? 1 : 2;
    left &= left - 1;
  }
};

// k = (tap, channel): both operands of forward and of dgrad, step by step.
template <class Core>
struct TapOperands {
  ShiftedRows<typename Core::A, Core::THREADS> a;
  Weights<typename Core::B, Core::THREADS> b;
  TapSteps steps;

  template <class PutA, class PutB>
  CBP_DEVICE void next(PutA put_a, PutB put_b) {
    a.visit(steps.tap, steps.channel, put_a);
    b.visit(steps.tap, steps.channel, put_b);
    steps.advance(Core::K);
  }
};

// k = flat row: both operands of wgrad, step by step.
template <class Core>
struct RowOperands {
  TapColumns<typename Core::A, Core::THREADS> a;
  FlatRows<typename Core::B, Core::THREADS> b;
  uint32_t k;

  template <class PutA, class PutB>
  CBP_DEVICE void next(PutA put_a, PutB put_b) {
    a.visit(k, put_a);
    b.visit(k, put_b);
    k += Core::K;
  }
};
