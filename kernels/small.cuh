// What the small kernels share: four elements at a time, masks, the test for infinity.
#pragma once

#include "prims/prims.cuh"

constexpr uint32_t FULL_WARP = 32;

// Four neighbouring elements as they lie in memory, 8 or 16 bytes.
template <class T>
struct FourOf {
  using Raw = uint2;
  CBP_DEVICE static float4 unpack(uint2 u) {
    const float2 low = unpack2<T>(u.x), high = unpack2<T>(u.y);
    return make_float4(low.x, low.y, high.x, high.y);
  }
  CBP_DEVICE static uint2 pack(float4 v) { return make_uint2(pack2<T>(v.x, v.y), pack2<T>(v.z, v.w)); }
};
template <>
struct FourOf<float> {
  using Raw = float4;
  CBP_DEVICE static float4 unpack(float4 v) { return v; }
  CBP_DEVICE static float4 pack(float4 v) { return v; }
};

// Rounds four values to the element type and stores them; `i` a multiple of 4.
template <class T>
CBP_DEVICE void store4(Global<T> p, size_t i, float4 v) {
  store_vec(p, i, FourOf<T>::pack(v));
}

// Whether a value fits the element type; what does not is infinite or NaN after rounding.
template <class T>
CBP_DEVICE bool fits(float v) {
  return fabsf(to_float(from_float<T>(v))) <= 3.40282347e38f;
}
