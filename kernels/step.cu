// step_begin, step_end: what happens once before and once after a step, in one thread.
//
//   step_begin   examples = min(batch, plan_len - cursor)
//                t = adam_step + 1;  rate = learning_rate * sqrt(1 - b2^t) / (1 - b1^t)       f64
//   step_end     cursor += examples, row += 1, and in training
//                without overflow   adam_step += 1, clean_steps += 1; after GROWTH_INTERVAL of them
//                                   the scale doubles
//                with overflow      the update was left out (adam.cu); the scale halves
//                A loss that is not finite, or an overflow where the scale cannot shrink, stops the
//                run: the state stays as it is, so that the host finds the batch.
//
// source: Keras Adam's step size as in engine/cpu/adam.rs; loss scaling as in Keras's
//         LossScaleOptimizer and PyTorch's GradScaler (halve at once, double after 2000 steps).
//   floor        launch latency
//   measured     unmeasured
//   registers    begin at most 41, end 24
//   tolerance    rate within 1 ulp of the CPU's f32(rate): b^t is exp(t ln b) here, pow there

#include "step.cuh"

constexpr double BETA_1 = 0.9, BETA_2 = 0.999;  // Keras's defaults
constexpr uint32_t GROWTH_INTERVAL = 2000;
// Below 2^-14 the smallest scaled gradient that fp16 can tell from zero would be 1e-3.
constexpr float MIN_SCALE = 1.0f / 16384.0f, MAX_SCALE = 16777216.0f;

struct StepArgs {
  Global<StepState> state;
  uint32_t train;  // step_end: 1 after an update, 0 after an evaluation or a prediction
  uint32_t padding;
};

CBP_KERNEL(step_begin, StepArgs, 32, 1) {
  if (threadIdx.x != 0) return;
  StepState s = p.state[0];
  const uint32_t left = s.plan_len > s.cursor ? s.plan_len - s.cursor : 0;
  s.examples = s.stopped != RUNS ? 0 : left < s.batch ? left : s.batch;
  const double t = (double)(s.adam_step + 1);
  const double root = sqrt(1.0 - exp(t * log(BETA_2)));
  s.rate = (float)(s.learning_rate * root / (1.0 - exp(t * log(BETA_1))));
  s.overflow = 0;
  p.state[0] = s;
}

CBP_KERNEL(step_end, StepArgs, 32, 1) {
  if (threadIdx.x != 0) return;
  StepState s = p.state[0];
  if (s.stopped != RUNS || s.examples == 0) return;
  if (s.bad_example != NO_EXAMPLE) {
    s.stopped = STOPPED_BY_LOSS;
  } else if (p.train && s.overflow && !(s.dynamic_scale && s.loss_scale > MIN_SCALE)) {
    s.stopped = STOPPED_BY_GRADIENT;
  } else {
    if (p.train && s.overflow) {
      s.loss_scale *= 0.5f;
      s.clean_steps = 0;
      s.skipped += 1;
    } else if (p.train) {
      s.adam_step += 1;
      s.clean_steps += 1;
      if (s.dynamic_scale && s.clean_steps >= GROWTH_INTERVAL) {
        if (s.loss_scale < MAX_SCALE) s.loss_scale *= 2.0f;
        s.clean_steps = 0;
      }
    }
    s.cursor += s.examples;
    s.row += 1;
  }
  p.state[0] = s;
}
