#include "order.hpp"

#include <algorithm>

namespace emu {

static void raise(std::vector<uint32_t>& to, const std::vector<uint32_t>& from) {
  uint32_t* a = to.data();
  const uint32_t* b = from.data();
  for (size_t i = 0; i < to.size(); i++) a[i] = a[i] < b[i] ? b[i] : a[i];
}

static void lower(std::vector<uint32_t>& to, const std::vector<uint32_t>& from) {
  uint32_t* a = to.data();
  const uint32_t* b = from.data();
  for (size_t i = 0; i < to.size(); i++) a[i] = a[i] < b[i] ? a[i] : b[i];
}

void Knowledge::learn(const Knowledge& other) {
  raise(seen, other.seen);
  raise(fenced, other.fenced);
}

void Order::start(uint32_t threads, uint32_t others) {
  now_ = 0;
  width_ = threads + others;
  actors_ = threads;
  known_.resize(threads);
  for (Knowledge& each : known_) {
    each.seen.assign(width_, 0);
    each.fenced.assign(width_, 0);
  }
}

void Order::meet(uint32_t first, uint32_t count) {
  Knowledge& all = known_[first];
  for (uint32_t t = first + 1; t < first + count; t++) all.learn(known_[t]);
  now_++;
  for (uint32_t t = first; t < first + count; t++) all.seen[t] = now_;
  for (uint32_t t = first + 1; t < first + count; t++) known_[t] = all;
}

void Order::release(uint32_t thread, Knowledge& to) {
  known_[thread].seen[thread] = ++now_;
  to.learn(known_[thread]);
}

void Order::learn(uint32_t thread, uint32_t actor, uint32_t end) {
  uint32_t& seen = known_[thread].seen[actor];
  seen = std::max(seen, end);
}

void Order::proxy_fence(uint32_t thread) {
  known_[thread].seen[thread] = ++now_;
  raise(known_[thread].fenced, known_[thread].seen);
}

Knowledge Order::common(uint32_t first, uint32_t count) const {
  Knowledge all = known_[first];
  for (uint32_t t = first + 1; t < first + count; t++) {
    lower(all.seen, known_[t].seen);
    lower(all.fenced, known_[t].fenced);
  }
  return all;
}

}  // namespace emu
