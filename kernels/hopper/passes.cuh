// Where the two passes whose k is (tap, channel) find their operands. Training and DeepSHAP share them; what a kernel
// adds is the rest of a `Pass` (conv.cuh): its epilogue, and what the spare warps do.
// `Args` has the fields that are named here, with the meaning of HopperForwardArgs, HopperDgradArgs.
#pragma once
#include "conv.cuh"

// y[n, l] takes x[n, l + t d], and its residual x[n, l + d].
template <class Args>
struct ForwardOperands {
  static constexpr bool MN_WEIGHTS = true;
  const Args& p;

  CBP_DEVICE int32_t lower() const { return 0; }
  CBP_DEVICE const TensorMap& residual() const { return p.source; }
  CBP_DEVICE uint32_t taps(uint32_t, uint32_t) const { return 7; }
  CBP_DEVICE uint32_t offset(uint32_t tap) const { return tap * p.dilation; }
};

// x[n, l] reached the outputs l - t d, which the walk meets from l - 2 d on, moved by (2 - t) d.
template <class Args>
struct DgradOperands {
  static constexpr bool MN_WEIGHTS = false;
  const Args& p;

  CBP_DEVICE int32_t lower() const { return -2 * int32_t(p.dilation); }
  CBP_DEVICE uint32_t offset(uint32_t tap) const { return (TAPS - 1 - tap) * p.dilation; }
  CBP_DEVICE const TensorMap& residual() const { return p.residual; }
  // Where no tap reaches, one reads zeros.
  CBP_DEVICE uint32_t taps(uint32_t m0, uint32_t count) const {
    const uint32_t set = p.map.taps(m0, count, -int32_t(p.dilation));
    return set ? set : 1;
  }
};

// A pass whose spare warps have nothing to do.
template <class Operands>
struct Unaided : Operands {
  static constexpr uint32_t STORERS = 1;
  template <class Conv>
  CBP_DEVICE void help(const Conv&, uint32_t) const {}
};
