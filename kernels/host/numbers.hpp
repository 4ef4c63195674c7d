// 16-bit and tf32 numbers on the host, rounded as the GPU's conversions round.
#pragma once

struct half_t {
  uint16_t bits;
};
struct bf16_t {
  uint16_t bits;
};

CBP_DEVICE uint32_t multiply_high(uint32_t a, uint32_t b) { return static_cast<uint32_t>((uint64_t{a} * b) >> 32); }
CBP_DEVICE uint32_t float_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}
CBP_DEVICE float bits_float(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}
CBP_DEVICE uint32_t popcount(uint32_t u) { return static_cast<uint32_t>(__builtin_popcount(u)); }
CBP_DEVICE float quotient(float a, float b) { return a / b; }
CBP_DEVICE uint32_t apart(uint32_t u) { return u; }

CBP_DEVICE float half_to_float(uint16_t h) {
#ifdef __F16C__
  return _cvtsh_ss(h);
#else
  const uint32_t sign = (h & 0x8000u) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3FFu;
  if (exponent == 0) {  // subnormal: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
    return bits_float(float_bits(magnitude) | sign);
  }
  if (exponent == 31) return bits_float(sign | 0x7F800000u | mantissa << 13);
  return bits_float(sign | (exponent + 112) << 23 | mantissa << 13);
#endif
}

CBP_DEVICE uint16_t float_to_half(float f) {
#ifdef __F16C__
  return static_cast<uint16_t>(_cvtss_sh(f, 0));
#else
  const uint32_t u = float_bits(f), sign = (u >> 16) & 0x8000u, magnitude = u & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);  // rounds above 65504
  if (magnitude < 0x38800000u) {  // subnormal half: let the f32 adder round at 2^-24
    const float shifted = bits_float(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (float_bits(shifted) - 0x3F000000u));
  }
  const uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
#endif
}

CBP_DEVICE uint16_t float_to_bf16(float f) {
  const uint32_t u = float_bits(f);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FFFu;
  return static_cast<uint16_t>((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}

CBP_DEVICE float to_float(float x) { return x; }
CBP_DEVICE float to_float(half_t x) { return half_to_float(x.bits); }
CBP_DEVICE float to_float(bf16_t x) { return bits_float(uint32_t{x.bits} << 16); }

template <class T> CBP_DEVICE T from_float(float f);
template <> CBP_DEVICE float from_float<float>(float f) { return f; }
template <> CBP_DEVICE half_t from_float<half_t>(float f) { return {float_to_half(f)}; }
template <> CBP_DEVICE bf16_t from_float<bf16_t>(float f) { return {float_to_bf16(f)}; }

template <class T> CBP_DEVICE uint32_t pack2(float low, float high) {
  return uint32_t{from_float<T>(low).bits} | uint32_t{from_float<T>(high).bits} << 16;
}
template <class T> CBP_DEVICE float2 unpack2(uint32_t u) {
  return {to_float(T{static_cast<uint16_t>(u)}), to_float(T{static_cast<uint16_t>(u >> 16)})};
}

// To nearest, ties away from zero, as cvt.rna does; infinities and NaNs pass.
CBP_DEVICE uint32_t to_tf32(float f) {
  const uint32_t u = float_bits(f);
  if ((u & 0x7F800000u) == 0x7F800000u) return u;
  return (u + 0x1000u) & ~0x1FFFu;
}
