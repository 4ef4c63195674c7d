// Global<T>: device memory as kernels see it, eight bytes of tagged address (runtime.hpp).
#pragma once

// An element of writable memory. Reads when converted, so that a plain store is seen as a store.
template <class T> struct GlobalElement {
  uint64_t address;
  operator T() const {
    T value;
    memcpy(&value, emu::check_global(address, sizeof(T), alignof(T), emu::Access::Read), sizeof(T));
    return value;
  }
  T operator=(T value) const {
    memcpy(emu::check_global(address, sizeof(T), alignof(T), emu::Access::Write), &value, sizeof(T));
    return value;
  }
  T operator=(const GlobalElement& other) const { return *this = static_cast<T>(other); }
  T operator+=(T v) const { return *this = static_cast<T>(*this) + v; }
  T operator-=(T v) const { return *this = static_cast<T>(*this) - v; }
  T operator*=(T v) const { return *this = static_cast<T>(*this) * v; }
  T operator|=(T v) const { return *this = static_cast<T>(*this) | v; }
};

template <class T> struct Global {
  uint64_t address;
  using Value = typename std::remove_const<T>::type;

  operator Global<const T>() const { return Global<const T>{address}; }
  explicit operator bool() const { return address != 0; }

#ifdef CBP_CHECKED
  using Element = typename std::conditional<std::is_const<T>::value, Value, GlobalElement<Value>>::type;
  template <class I> Element operator[](I i) const { return GlobalElement<Value>{(*this + i).address}; }
#else
  template <class I> CBP_DEVICE T& operator[](I i) const {
    return reinterpret_cast<T*>(emu::plain_pointer(address))[i];
  }
#endif
  template <class I> CBP_DEVICE Global operator+(I n) const {
    return Global{address + static_cast<uint64_t>(static_cast<int64_t>(n)) * sizeof(T)};
  }
  template <class U> CBP_DEVICE Global<U> as() const { return Global<U>{address}; }
};
static_assert(sizeof(Global<float>) == 8, "mirrored by engine/cuda/device.rs");

template <class S, class F> CBP_DEVICE size_t member_offset(F S::* field) {
  alignas(S) static const char storage[sizeof(S)] = {};
  const S* object = reinterpret_cast<const S*>(storage);
  return reinterpret_cast<const char*>(&(object->*field)) - storage;
}
template <class S, class F> CBP_DEVICE Global<F> member(Global<S> p, F S::* field) {
  return Global<F>{p.address + member_offset(field)};
}
template <class S, class F> CBP_DEVICE Global<const F> member(Global<const S> p, F S::* field) {
  return Global<const F>{p.address + member_offset(field)};
}

CBP_DEVICE uint8_t* global_bytes(uint64_t address, uint32_t bytes, emu::Access access) {
  return CHECKED ? emu::check_global(address, bytes, bytes, access) : emu::plain_pointer(address);
}
template <class V, class T, class I> CBP_DEVICE V load_vec(Global<T> p, I i) {
  V v;
  memcpy(&v, global_bytes((p + i).address, sizeof(V), emu::Access::Read), sizeof(V));
  return v;
}
template <class V, class T, class I> CBP_DEVICE void store_vec(Global<T> p, I i, V v) {
  static_assert(!std::is_const<T>::value, "store to read-only memory");
  memcpy(global_bytes((p + i).address, sizeof(V), emu::Access::Write), &v, sizeof(V));
}

// Blocks may run on several OS threads, so these are real atomics.
CBP_DEVICE uint32_t atomic_or(Global<uint32_t> p, uint32_t v) {
  auto* at = reinterpret_cast<uint32_t*>(global_bytes(p.address, 4, emu::Access::Atomic));
  return __atomic_fetch_or(at, v, __ATOMIC_RELAXED);
}
CBP_DEVICE uint32_t atomic_min(Global<uint32_t> p, uint32_t v) {
  auto* at = reinterpret_cast<uint32_t*>(global_bytes(p.address, 4, emu::Access::Atomic));
  uint32_t old = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (v < old && !__atomic_compare_exchange_n(at, &old, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
  return old;
}
