// What head.cu (f32) and head_tensor*.cu (16 bits) share: the arguments of the gradients, and the columns of a product.
#pragma once

#include "step.cuh"

constexpr uint32_t COLUMNS = 80;  // of a tile of the forward pass: taps, then the dense layer

struct HeadInputGradient {
  Global<float> dlogits;
  Global<float> dlogcounts;
  Global<float> w;
  Global<float> dense;
  Global<uint32_t> mask;
  Global<uint8_t> g;   // of the element type; null: not wanted
  Global<uint8_t> dz;  // of the element type
  Global<float> column_sums;  // [B * row tiles][C]
  Global<uint32_t> overflow;
  uint32_t length;
  uint32_t channels;
  uint32_t width;
  uint32_t crop;
  uint32_t outputlen;
  uint32_t padding;
};

struct HeadWeightGradient {
  Global<StepState> state;
  Global<uint8_t> x;  // of the element type
  Global<float> dlogits;
  Global<float> dlogcounts;
  Global<float> partials;
  uint32_t batch;
  uint32_t length;
  uint32_t channels;
  uint32_t width;
  uint32_t crop;
  uint32_t outputlen;
};
