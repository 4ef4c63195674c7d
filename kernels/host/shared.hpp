// Shared<T>: the block's dynamic shared memory, and asynchronous copies into it.
#pragma once

#ifdef CBP_CHECKED

template <class T> struct SharedElement {
  uint32_t at;
  operator T() const {
    T value;
    memcpy(&value, emu::check_shared(at, sizeof(T), alignof(T), emu::Access::Read), sizeof(T));
    return value;
  }
  T operator=(T value) const {
    memcpy(emu::check_shared(at, sizeof(T), alignof(T), emu::Access::Write), &value, sizeof(T));
    return value;
  }
  T operator=(const SharedElement& other) const { return *this = static_cast<T>(other); }
  T operator+=(T v) const { return *this = static_cast<T>(*this) + v; }
  T operator-=(T v) const { return *this = static_cast<T>(*this) - v; }
  T operator*=(T v) const { return *this = static_cast<T>(*this) * v; }
  T operator|=(T v) const { return *this = static_cast<T>(*this) | v; }
};

template <class T> struct Shared {
  uint32_t at;
  using Value = typename std::remove_const<T>::type;
  template <class I> SharedElement<Value> operator[](I i) const { return {(*this + i).at}; }
  template <class I> Shared operator+(I n) const {
    return Shared{at + static_cast<uint32_t>(static_cast<int64_t>(n)) * static_cast<uint32_t>(sizeof(T))};
  }
  template <class U> Shared<U> as() const { return Shared<U>{at}; }
  uint32_t address() const { return at; }
};
template <class T> CBP_DEVICE Shared<T> shared_at(uint32_t byte_offset) { return {emu::SHARED_BASE + byte_offset}; }

template <class T> CBP_DEVICE uint8_t* shared_bytes(Shared<T> s, uint32_t bytes, emu::Access access) {
  return emu::check_shared(s.at, bytes, bytes, access);
}

template <class T> CBP_DEVICE void cp_async16(uint32_t to, Global<T> src, bool valid) {
  emu::async_copy16(to, src.address, valid);
}
CBP_DEVICE void cp_async_commit() { emu::async_commit(); }
template <int N> CBP_DEVICE void cp_async_wait() { emu::async_wait(N); }

#else

// A plain pointer, so that a tile's inner loop costs what it costs on arrays.
template <class T> struct Shared {
  T* pointer;
  template <class I> CBP_DEVICE T& operator[](I i) const { return pointer[i]; }
  template <class I> CBP_DEVICE Shared operator+(I n) const { return Shared{pointer + n}; }
  template <class U> CBP_DEVICE Shared<U> as() const { return Shared<U>{reinterpret_cast<U*>(pointer)}; }
  CBP_DEVICE uint32_t address() const {
    return emu::SHARED_BASE + static_cast<uint32_t>(reinterpret_cast<uint8_t*>(pointer) - emu::block_now->shared);
  }
};
template <class T> CBP_DEVICE Shared<T> shared_at(uint32_t byte_offset) {
  return {reinterpret_cast<T*>(emu::block_now->shared + byte_offset)};
}

template <class T> CBP_DEVICE uint8_t* shared_bytes(Shared<T> s, uint32_t, emu::Access) {
  return reinterpret_cast<uint8_t*>(s.pointer);
}

template <class T> CBP_DEVICE void cp_async16(uint32_t to, Global<T> src, bool valid) {
  uint8_t* out = emu::block_now->shared + (to - emu::SHARED_BASE);
  if (valid) {
    memcpy(out, emu::plain_pointer(src.address), 16);
  } else {
    memset(out, 0, 16);
  }
}
CBP_DEVICE void cp_async_commit() {}
template <int N> CBP_DEVICE void cp_async_wait() {}

#endif

template <class V, class T, class I> CBP_DEVICE V load_vec(Shared<T> s, I i) {
  V v;
  memcpy(&v, shared_bytes(s + i, sizeof(V), emu::Access::Read), sizeof(V));
  return v;
}
template <class V, class T, class I> CBP_DEVICE void store_vec(Shared<T> s, I i, V v) {
  memcpy(shared_bytes(s + i, sizeof(V), emu::Access::Write), &v, sizeof(V));
}
