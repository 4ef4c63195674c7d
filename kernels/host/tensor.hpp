// ldmatrix and mma.sync, by the fragment layouts of the PTX manual (9.7.14, warp-level matrix instructions).
//
// With g = lane / 4 and t = lane % 4:
//   ldmatrix    lane 8m + r gives the address of row r of matrix m; register m of a lane gets row g, columns 2t, 2t+1
//               (.trans: rows 2t, 2t+1 of column g)
//   m16n8k16    a[0] rows g, k 2t..; a[1] rows g+8; a[2] rows g, k 2t+8..; a[3] rows g+8, k 2t+8..
//               b0 k 2t.., column g; b1 k 2t+8..;   d[0..1] row g, columns 2t..; d[2..3] row g+8
//   m16n8k32    (bytes) as m16n8k16 with four k in a register: a[0] rows g, k 4t..; a[2] k 4t+16..; b1 k 4t+16..
//   m16n8k8     (tf32) a[0] (g, t), a[1] (g+8, t), a[2] (g, t+4), a[3] (g+8, t+4); b0 (t, g), b1 (t+4, g); d as above
#pragma once

struct LoadMatrix {
  uint32_t (&r)[4];
  uint32_t address;
  uint8_t* row;
};

CBP_DEVICE uint8_t* matrix_row(uint32_t address) {
  return CHECKED ? emu::check_shared(address, 16, 16, emu::Access::WarpRead)
                 : emu::block_now->shared + (address - emu::SHARED_BASE);
}

CBP_DEVICE void ldmatrix_x4(uint32_t (&r)[4], uint32_t address, emu::Site site = emu::Site::here()) {
  LoadMatrix mine{r, address, matrix_row(address)};
  emu::meet(emu::Collective::LoadMatrix, site, &mine, [](void* const* lanes) {
    for (int l = 0; l < 32; l++) {
      for (int m = 0; m < 4; m++) {
        const auto* row = static_cast<LoadMatrix*>(lanes[m * 8 + l / 4])->row;
        memcpy(&static_cast<LoadMatrix*>(lanes[l])->r[m], row + (l % 4) * 4, 4);
      }
    }
  });
}

CBP_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t address, emu::Site site = emu::Site::here()) {
  LoadMatrix mine{r, address, matrix_row(address)};
  emu::meet(emu::Collective::LoadMatrix, site, &mine, [](void* const* lanes) {
    for (int l = 0; l < 32; l++) {
      for (int m = 0; m < 4; m++) {
        uint16_t low, high;
        const int first = m * 8 + (l % 4) * 2, column = (l / 4) * 2;
        memcpy(&low, static_cast<LoadMatrix*>(lanes[first])->row + column, 2);
        memcpy(&high, static_cast<LoadMatrix*>(lanes[first + 1])->row + column, 2);
        static_cast<LoadMatrix*>(lanes[l])->r[m] = uint32_t{low} | uint32_t{high} << 16;
      }
    }
  });
}

struct Mma {
  float (&d)[4];
  const uint32_t (&a)[4];
  uint32_t b0, b1;
};

// Eight columns of a tile.
typedef float Row8 __attribute__((vector_size(32)));

// d[16][8] += a[16][K] b[K][8], accumulated in f32 in the order of k. Host time of the whole emulator is spent here,
// so rows go through the vector unit eight at a time.
template <int K> CBP_DEVICE void add_product(Row8 (&d)[16], const float (&a)[16][K], const Row8 (&b)[K]) {
  for (int first = 0; first < 16; first += 8) {
    Row8 sum[8];
    for (int r = 0; r < 8; r++) sum[r] = d[first + r];
    for (int k = 0; k < K; k++) {
      for (int r = 0; r < 8; r++) sum[r] += a[first + r][k] * b[k];
    }
    for (int r = 0; r < 8; r++) d[first + r] = sum[r];
  }
}

// The same, d being the lanes' accumulators.
template <int K> CBP_DEVICE void multiply_tile(void* const* lanes, const float (&a)[16][K], const Row8 (&b)[K]) {
  Row8 d[16];
  for (int l = 0; l < 32; l++) {
    const float* fragment = static_cast<Mma*>(lanes[l])->d;
    for (int half = 0; half < 2; half++)
      memcpy(reinterpret_cast<float*>(&d[l / 4 + half * 8]) + l % 4 * 2, fragment + half * 2, 8);
  }
  add_product<K>(d, a, b);
  for (int l = 0; l < 32; l++) {
    float* fragment = static_cast<Mma*>(lanes[l])->d;
    for (int half = 0; half < 2; half++)
      memcpy(fragment + half * 2, reinterpret_cast<float*>(&d[l / 4 + half * 8]) + l % 4 * 2, 8);
  }
}

// Eight registers of two 16-bit values each: the low halves, the high halves.
template <class T> CBP_DEVICE void unpack8(const uint32_t* in, float* low, float* high, int stride) {
  for (int i = 0; i < 8; i++) {
    const float2 pair = unpack2<T>(in[i]);
    low[i * stride] = pair.x;
    high[i * stride] = pair.y;
  }
}

template <class T> CBP_DEVICE void mma_16816(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                                             emu::Site site = emu::Site::here()) {
  Mma mine{d, a, b0, b1};
  emu::meet(emu::Collective::Mma, site, &mine, [](void* const* lanes) {
    uint32_t pairs_a[16][8], pairs_b[8][8];  // [row][k / 2], [k / 2][column]
    for (int l = 0; l < 32; l++) {
      const auto& lane = *static_cast<Mma*>(lanes[l]);
      const int g = l / 4, t = l % 4;
      for (int i = 0; i < 4; i++) pairs_a[g + i % 2 * 8][t + i / 2 * 4] = lane.a[i];
      pairs_b[t][g] = lane.b0;
      pairs_b[t + 4][g] = lane.b1;
    }
    float a[16][16];
    Row8 b[16];
    for (int row = 0; row < 16; row++) unpack8<T>(pairs_a[row], &a[row][0], &a[row][1], 2);
    for (int k = 0; k < 8; k++) {
      unpack8<T>(pairs_b[k], reinterpret_cast<float*>(&b[2 * k]), reinterpret_cast<float*>(&b[2 * k + 1]), 1);
    }
    multiply_tile<16>(lanes, a, b);
  });
}

// The tensor core reads 19 of an operand's 32 bits.
CBP_DEVICE float as_tf32(uint32_t u) { return bits_float(u & ~0x1FFFu); }

CBP_DEVICE void mma_1688_tf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                              emu::Site site = emu::Site::here()) {
  Mma mine{d, a, b0, b1};
  emu::meet(emu::Collective::Mma, site, &mine, [](void* const* lanes) {
    float a[16][8];
    Row8 b[8];
    for (int l = 0; l < 32; l++) {
      const auto& lane = *static_cast<Mma*>(lanes[l]);
      const int g = l / 4, t = l % 4;
      for (int i = 0; i < 4; i++) a[g + i % 2 * 8][t + i / 2 * 4] = as_tf32(lane.a[i]);
      b[t][g] = as_tf32(lane.b0);
      b[t + 4][g] = as_tf32(lane.b1);
    }
    multiply_tile<8>(lanes, a, b);
  });
}

struct ByteMma {
  int32_t (&d)[4];
  const uint32_t (&a)[4];
  uint32_t b0, b1;
};

// Products go through the same vector code: 32 of bytes add up to less than 2^24, so f32 has them exactly.
CBP_DEVICE void mma_16832_u8s8(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                               emu::Site site = emu::Site::here()) {
  ByteMma mine{d, a, b0, b1};
  emu::meet(emu::Collective::Mma, site, &mine, [](void* const* lanes) {
    float a[16][32];
    Row8 b[32], product[16] = {};
    for (int l = 0; l < 32; l++) {
      const auto& lane = *static_cast<ByteMma*>(lanes[l]);
      const int g = l / 4, t = l % 4;
      for (int k = 0; k < 4; k++) {
        for (int i = 0; i < 4; i++)
          a[g + i % 2 * 8][4 * t + i / 2 * 16 + k] = static_cast<uint8_t>(lane.a[i] >> 8 * k);
        b[4 * t + k][g] = static_cast<int8_t>(lane.b0 >> 8 * k);
        b[4 * t + 16 + k][g] = static_cast<int8_t>(lane.b1 >> 8 * k);
      }
    }
    add_product<32>(product, a, b);
    for (int l = 0; l < 32; l++) {
      int32_t(&sums)[4] = static_cast<ByteMma*>(lanes[l])->d;
      for (int i = 0; i < 4; i++) {
        const uint32_t sum = static_cast<uint32_t>(static_cast<int32_t>(product[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2]));
        sums[i] = static_cast<int32_t>(static_cast<uint32_t>(sums[i]) + sum);
      }
    }
  });
}
