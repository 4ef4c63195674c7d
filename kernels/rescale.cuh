// DeepSHAP's rescale rule at a ReLU: what stands where a gradient has the ReLU's mask.
#pragma once
#include "prims/prims.cuh"

// The ReLU's change over its input's, between the pre-activations x of a sequence and r of its reference.
// Where they are closer than 1e-6 the derivative at x, as the official explainer has it (kundajelab-shap,
// TFDeepExplainer, nonlinearity_1d). In [0, 1]; NaN stays NaN.
CBP_DEVICE float rescale_ratio(float x, float r) {
  const float difference = x - r;
  if (fabsf(difference) < 1e-6f) return x > 0.f ? 1.f : 0.f;
  const float relu_x = x <= 0.f ? 0.f : x, relu_r = r <= 0.f ? 0.f : r;
  return (relu_x - relu_r) / difference;
}

// The same to 2 ulp, for a ratio that 16 bits are kept of (1 and 0 stay what they are): no branch, and no division.
CBP_DEVICE float short_rescale_ratio(float x, float r) {
  const float difference = x - r;
  const float relu_x = x <= 0.f ? 0.f : x, relu_r = r <= 0.f ? 0.f : r;
  const float ratio = quotient(relu_x - relu_r, difference), derivative = x > 0.f ? 1.f : 0.f;
  return fabsf(difference) < 1e-6f ? derivative : ratio;
}

// What a forward layer leaves for the backward pass, beside its output. Pairs of a sequence and one of its
// references are the batch; the sequences' own forward pass comes first and keeps its pre-activations.
template <class T>
struct Rescale {
  Global<float> kept;       // out, the sequences' pass: f32 pre-activations; null: not wanted
  Global<const float> x;    // in, the references' pass: the sequences' `kept`; null: the reference is the
                            // sequence itself, and the ratio its ReLU's derivative
  Global<T> ratio;          // out, the references' pass; null: not wanted
  FastDiv per_sequence;     // references of a sequence
  uint32_t padding;

  // Row of `x` for row m of the references, `length` rows an example.
  CBP_DEVICE uint32_t row_of_x(uint32_t m, const FastDiv& length) const {
    const uint32_t n = length.div(m);
    return m - (n - per_sequence.div(n)) * length.d;
  }
};
