// Synchronisation and collectives. Every call names its place in the source, so that a report can.
#pragma once

CBP_DEVICE uint32_t lane() { return emu::thread_now->linear & 31; }
CBP_DEVICE uint32_t warp() { return emu::thread_now->linear >> 5; }

CBP_DEVICE void block_sync(emu::Site site = emu::Site::here()) { emu::block_barrier(site); }
CBP_DEVICE void warp_sync(emu::Site site = emu::Site::here()) {
  emu::meet(emu::Collective::WarpSync, site, nullptr, [](void* const*) {});
}

template <class T> struct Exchange {
  T value;
  uint32_t from;  // the lane whose value this lane gets
};
template <class T> CBP_DEVICE T exchange(T value, uint32_t from, emu::Site site) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  Exchange<T> mine{value, from};
  emu::meet(emu::Collective::Shuffle, site, &mine, [](void* const* lanes) {
    T values[32];
    for (int l = 0; l < 32; l++) values[l] = static_cast<Exchange<T>*>(lanes[l])->value;
    for (int l = 0; l < 32; l++) {
      auto* lane = static_cast<Exchange<T>*>(lanes[l]);
      lane->value = values[lane->from];
    }
  });
  return mine.value;
}
template <class T> CBP_DEVICE T shfl(T v, uint32_t from, emu::Site site = emu::Site::here()) {
  return exchange(v, from & 31, site);
}
template <class T> CBP_DEVICE T shfl_xor(T v, uint32_t mask, emu::Site site = emu::Site::here()) {
  return exchange(v, (lane() ^ mask) & 31, site);
}
// Lanes without a partner keep their own value, as on the GPU.
template <class T> CBP_DEVICE T shfl_down(T v, uint32_t delta, emu::Site site = emu::Site::here()) {
  return exchange(v, lane() + delta < 32 ? lane() + delta : lane(), site);
}
CBP_DEVICE uint32_t ballot(bool pred, emu::Site site = emu::Site::here()) {
  uint32_t mine = pred;
  emu::meet(emu::Collective::Ballot, site, &mine, [](void* const* lanes) {
    uint32_t votes = 0;
    for (int l = 0; l < 32; l++) votes |= *static_cast<uint32_t*>(lanes[l]) << l;
    for (int l = 0; l < 32; l++) *static_cast<uint32_t*>(lanes[l]) = votes;
  });
  return mine;
}
