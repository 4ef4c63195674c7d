// Adam as Keras defines it, for one element.
#pragma once

#include "step.cuh"

constexpr float NEW_1 = (float)(1.0 - 0.9), NEW_2 = (float)(1.0 - 0.999), EPSILON = 1e-7f;  // Keras's

// Whether the weights of this step are to be updated: not when a gradient overflowed, a loss is not finite, or
// the run has stopped.
CBP_DEVICE bool updates(Global<StepState> state) {
  const uint32_t overflow = member(state, &StepState::overflow)[0];
  const uint32_t bad_example = member(state, &StepState::bad_example)[0];
  const uint32_t examples = member(state, &StepState::examples)[0];  // 0 when stopped
  return !overflow && bad_example == NO_EXAMPLE && examples != 0;
}

// Moves the moments of element i; returns what to take from the weight.
CBP_DEVICE float adam_step(Global<float> first, Global<float> second, uint32_t i, float gradient, float rate) {
  float m = first[i], v = second[i];
  m += (gradient - m) * NEW_1;
  v += (gradient * gradient - v) * NEW_2;
  first[i] = m;
  second[i] = v;
  return rate * m / (sqrtf(v) + EPSILON);
}
