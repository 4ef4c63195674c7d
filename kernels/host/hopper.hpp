// prims of Hopper on the host: what hopper.cuh promises, in terms of the emulation runtime.
#pragma once

#define CBP_CLUSTER_KERNEL(name, Args, THREADS, CLUSTER) CBP_REGISTER(name, Args, THREADS, CLUSTER)

using TensorMap = emu::TensorMap;

CBP_DEVICE uint32_t cluster_rank() { return emu::block_now->rank; }
CBP_DEVICE void cluster_sync(emu::Site site = emu::Site::here()) { emu::cluster_barrier(site); }

// How many there are is for ptxas to see to; that a whole warpgroup says so is checked.
template <int REGISTERS> CBP_DEVICE void registers_give(emu::Site site = emu::Site::here()) {
  static_assert(REGISTERS % 8 == 0 && REGISTERS >= 24 && REGISTERS <= 256, "what setmaxnreg takes");
  emu::meet_group(emu::GroupCollective::Registers, site, nullptr, [](void* const*) {});
}
template <int REGISTERS> CBP_DEVICE void registers_take(emu::Site site = emu::Site::here()) {
  registers_give<REGISTERS>(site);
}

struct Mbarrier {
  uint32_t address;
  CBP_DEVICE void init(uint32_t arrivals) const { emu::mbarrier_init(address, arrivals); }
  CBP_DEVICE void arrive() const { emu::mbarrier_arrive(address, cluster_rank(), 0); }
  CBP_DEVICE void arrive_at(uint32_t rank) const { emu::mbarrier_arrive(address, rank, 0); }
  CBP_DEVICE void expect(uint32_t bytes) const { emu::mbarrier_arrive(address, cluster_rank(), bytes); }
  CBP_DEVICE void wait(uint32_t parity, emu::Site site = emu::Site::here()) const {
    emu::mbarrier_wait(address, parity, site);
  }
};
CBP_DEVICE Mbarrier mbarrier_at(uint32_t byte_offset) { return {emu::SHARED_BASE + byte_offset}; }
CBP_DEVICE void fence_barrier_init() { emu::proxy_fence(); }
CBP_DEVICE void fence_async() { emu::proxy_fence(); }

CBP_DEVICE void load_positions(uint32_t to, const TensorMap& map, Mbarrier barrier, int32_t c, int32_t l, int32_t n,
                               uint32_t offset) {
  emu::bulk_load({&map, to, barrier.address, c, l, n, offset & 0xFFFF, 1u << cluster_rank()});
}
CBP_DEVICE void load_rows(uint32_t to, const TensorMap& map, Mbarrier barrier, int32_t c, int32_t row,
                          uint32_t ranks) {
  emu::bulk_load({&map, to, barrier.address, c, row, 0, 0, ranks});
}
CBP_DEVICE void store_rows(const TensorMap& map, uint32_t from, int32_t c, int32_t row) {
  emu::bulk_store(&map, from, c, row);
}
CBP_DEVICE void store_commit() { emu::bulk_commit(); }
template <int N> CBP_DEVICE void store_wait_read() { emu::bulk_wait_read(N); }

struct StoreMatrix {
  const uint32_t (&r)[4];
  uint8_t* row;
};
CBP_DEVICE void stmatrix_x4(uint32_t address, const uint32_t (&r)[4], emu::Site site = emu::Site::here()) {
  uint8_t* row = CHECKED ? emu::check_shared(address, 16, 16, emu::Access::Write)
                         : emu::block_now->shared + (address - emu::SHARED_BASE);
  StoreMatrix mine{r, row};
  emu::meet(emu::Collective::StoreMatrix, site, &mine, [](void* const* lanes) {
    for (int l = 0; l < 32; l++) {
      for (int m = 0; m < 4; m++) {
        uint8_t* to = static_cast<StoreMatrix*>(lanes[m * 8 + l / 4])->row + l % 4 * 4;
        memcpy(to, &static_cast<StoreMatrix*>(lanes[l])->r[m], 4);
      }
    }
  });
}

// ---- wgmma
//
// source: PTX manual, 9.7.15 (wgmma: fragments, shared memory layouts, matrix descriptors)

CBP_DEVICE uint64_t swizzled_operand(uint32_t address, uint32_t leading) {
  return uint64_t{(address & 0x3FFFF) >> 4} | uint64_t{leading >> 4} << 16 | uint64_t{1024 >> 4} << 32 |
         uint64_t{1} << 62;
}

// A descriptor taken apart: where 16 bytes of an operand lie.
struct Operand {
  uint32_t start, leading, stride;
  CBP_DEVICE explicit Operand(uint64_t d)
      : start((d & 0x3FFF) << 4), leading((d >> 16 & 0x3FFF) << 4), stride((d >> 32 & 0x3FFF) << 4) {
    if (d >> 62 != 1) emu::fail("a wgmma descriptor without the 128-byte swizzle");
    if (d >> 49 & 7) emu::fail("a wgmma descriptor with a base offset");
  }
  // Elements k, k + 1, .. k + 7 of row mn, or the other way round: offset in shared memory.
  template <bool MN> CBP_DEVICE uint32_t piece(uint32_t mn, uint32_t k) const {
    const uint32_t at = MN ? start + mn / 64 * leading + k / 8 * stride + k % 8 * 128 + mn % 64 * 2
                           : start + mn / 8 * stride + mn % 8 * 128 + k * 2;
    return (at ^ (at >> 7 & 7) << 4) - emu::SHARED_BASE;
  }
};

constexpr uint32_t WGMMA_K = 16;

template <bool MN, class F> CBP_DEVICE void each_piece(uint64_t descriptor, uint32_t rows, F f) {
  const Operand operand(descriptor);
  for (uint32_t mn = 0; mn < rows; mn += MN ? 8 : 1) {
    for (uint32_t k = 0; k < WGMMA_K; k += MN ? 1 : 8) f(mn, k, operand.template piece<MN>(mn, k));
  }
}

// to[k][mn] for an operand of `rows` rows.
template <class T, bool MN>
CBP_DEVICE void gather(uint64_t descriptor, uint32_t rows, const uint8_t* shared, float* to) {
  each_piece<MN>(descriptor, rows, [&](uint32_t mn, uint32_t k, uint32_t offset) {
    T elements[8];
    memcpy(elements, shared + offset, 16);
    for (uint32_t i = 0; i < 8; i++) to[MN ? k * rows + mn + i : (k + i) * rows + mn] = to_float(elements[i]);
  });
}

template <class T, int N, bool MN_A, bool MN_B>
CBP_DEVICE void multiply_operands(const emu::Product& product, const uint8_t* shared, float* sums) {
  float a[WGMMA_K * 64];
  alignas(32) float b[WGMMA_K * N];
  gather<T, MN_A>(product.a, 64, shared, a);
  gather<T, MN_B>(product.b, N, shared, b);
  for (uint32_t row = 0; row < 64; row++) {
    for (uint32_t first = 0; first < N; first += 64) {
      Row8 sum[8];
      float* at = sums + row * N + first;
      memcpy(sum, at, sizeof sum);
      if (!product.add) memset(sum, 0, sizeof sum);
      for (uint32_t k = 0; k < WGMMA_K; k++) {
        const auto* from = reinterpret_cast<const Row8*>(b + k * N + first);
        for (uint32_t i = 0; i < 8; i++) sum[i] += a[k * 64 + row] * from[i];
      }
      memcpy(at, sum, sizeof sum);
    }
  }
}

// to[k][mn], k = 32 bytes, of an operand whose pieces are K-major.
template <class Byte>
CBP_DEVICE void gather_bytes(uint64_t descriptor, uint32_t rows, const uint8_t* shared, float* to) {
  each_piece<false>(descriptor, rows, [&](uint32_t mn, uint32_t k, uint32_t offset) {
    for (uint32_t i = 0; i < 16; i++) to[(2 * k + i) * rows + mn] = static_cast<Byte>(shared[offset + i]);
  });
}

// The sums are s32 in the places of f32. Products of a step are exact in f32, as in mma_16832_u8s8.
CBP_DEVICE void multiply_bytes(const emu::Product& product, const uint8_t* shared, float* sums) {
  constexpr uint32_t K = 32, N = 128;
  float a[K * 64];
  alignas(32) float b[K * N];
  gather_bytes<uint8_t>(product.a, 64, shared, a);
  gather_bytes<int8_t>(product.b, N, shared, b);
  for (uint32_t row = 0; row < 64; row++) {
    Row8 sum[N / 8] = {};
    for (uint32_t k = 0; k < K; k++) {
      const auto* from = reinterpret_cast<const Row8*>(b + k * N);
      for (uint32_t i = 0; i < N / 8; i++) sum[i] += a[k * 64 + row] * from[i];
    }
    for (uint32_t n = 0; n < N; n++) {
      uint32_t total = product.add ? float_bits(sums[row * N + n]) : 0;
      total += static_cast<uint32_t>(static_cast<int32_t>(sum[n / 8][n % 8]));
      sums[row * N + n] = bits_float(total);
    }
  }
}

struct Wgmma {
  float* d;
  uint64_t a, b;
  bool add;
};

// What both forms share: 128 threads with the same operands, N columns, `multiply` for the arithmetic.
template <int N, bool MN_A, bool MN_B, void (*MULTIPLY)(const emu::Product&, const uint8_t*, float*)>
CBP_DEVICE void issue(Wgmma mine, emu::Site site) {
  emu::meet_group(emu::GroupCollective::Product, site, &mine, [](void* const* threads) {
    const auto& first = *static_cast<Wgmma*>(threads[0]);
    emu::Product product{};
    for (uint32_t t = 0; t < emu::GROUP; t++) {
      const auto& mine = *static_cast<Wgmma*>(threads[t]);
      if (mine.a != first.a || mine.b != first.b || mine.add != first.add)
        emu::fail("the operands of a wgmma differ between threads");
      product.accumulators[t] = mine.d;
    }
    product.a = first.a;
    product.b = first.b;
    product.add = first.add;
    product.columns = N;
    product.operands = [](const emu::Product& p, void* context, void (*touch)(void*, uint32_t)) {
      each_piece<MN_A>(p.a, 64, [&](uint32_t, uint32_t, uint32_t offset) { touch(context, offset); });
      each_piece<MN_B>(p.b, N, [&](uint32_t, uint32_t, uint32_t offset) { touch(context, offset); });
    };
    product.multiply = MULTIPLY;
    emu::group_product(product);
  });
}

template <class T, int N, bool MN_A, bool MN_B>
CBP_DEVICE void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, bool add, emu::Site site = emu::Site::here()) {
  issue<N, MN_A, MN_B, multiply_operands<T, N, MN_A, MN_B>>({d, a, b, add}, site);
}
CBP_DEVICE void wgmma_u8s8(int32_t (&d)[64], uint64_t a, uint64_t b, bool add, emu::Site site = emu::Site::here()) {
  issue<128, false, false, multiply_bytes>({reinterpret_cast<float*>(d), a, b, add}, site);
}

CBP_DEVICE void wgmma_fence(emu::Site site = emu::Site::here()) {
  emu::meet_group(emu::GroupCollective::Fence, site, nullptr, [](void* const*) { emu::group_fence(); });
}
CBP_DEVICE void wgmma_commit(emu::Site site = emu::Site::here()) {
  emu::meet_group(emu::GroupCollective::Commit, site, nullptr, [](void* const*) { emu::group_commit(); });
}
template <int N> CBP_DEVICE void wgmma_wait(emu::Site site = emu::Site::here()) {
  emu::meet_group(emu::GroupCollective::Wait, site, nullptr, [](void* const*) { emu::group_wait(N); });
}
template <class Sum, int N> CBP_DEVICE void hold(Sum (&d)[N]) { asm volatile("" ::"r"(&d[0]) : "memory"); }
