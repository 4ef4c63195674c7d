// The state of a run that lives in device memory, so that a step needs nothing from the host.
#pragma once

#include "prims/prims.cuh"

// One training example, as `src/batch/plan.rs` has it.
struct Example {
  uint32_t contig;
  uint32_t start;
  uint32_t flags;  // EXAMPLE_REVCOMP, EXAMPLE_PEAK
  uint32_t row;
};
constexpr uint32_t EXAMPLE_REVCOMP = 1;
static_assert(sizeof(Example) == 16, "the plan's rows are 16 bytes");

// Why a run stopped. From then on a step changes nothing: weights, moments and losses stay those
// of the last good step, however many steps are still queued.
constexpr uint32_t RUNS = 0;
constexpr uint32_t STOPPED_BY_LOSS = 1;      // an output or a loss is not finite: bad_example
constexpr uint32_t STOPPED_BY_GRADIENT = 2;  // a gradient is not finite, and no smaller scale helps
constexpr uint32_t NO_EXAMPLE = 0xffffffffu;

// Mirrored in `src/engine/cuda/ops/step.rs`, which also sets the initial values.
struct StepState {
  uint64_t adam_step;      // updates done
  double learning_rate;    // Adam's, without its correction
  uint32_t cursor;         // plan row of this step's first example
  uint32_t plan_len;       // rows of the plan
  uint32_t batch;          // examples of a full batch
  uint32_t examples;       // of this step; the last batch of a plan may be smaller
  uint32_t row;            // of the losses: steps done in this plan
  uint32_t overflow;       // 1: a gradient of this step is not finite
  uint32_t bad_example;    // first plan row whose loss is not finite, or NO_EXAMPLE
  uint32_t stopped;        // RUNS, STOPPED_BY_*
  float rate;              // step size of this update, Adam's correction included
  float loss_scale;        // power of two; gradients are this many times too large
  uint32_t dynamic_scale;  // 1: the scale follows the overflows (fp16), 0: it is fixed
  uint32_t clean_steps;    // updates since the scale changed
  uint32_t skipped;        // updates left out because of an overflow
  uint32_t padding;
};
static_assert(sizeof(StepState) == 72, "mirrored in ops/step.rs");
