// The emulated device behind a C interface; engine/cuda/emulated.rs is the other side. Every failure is a text that
// the caller can read from cbp_emu_error: nothing here ends the process.
#include <exception>
#include <new>

#include "launch.hpp"

struct Handle {
  emu::Device device;
  std::string error;
  explicit Handle(const emu::Options& options) : device(options) {}
};

// 0 when done, 1 with a text in `error`.
template <class F> static int guarded(Handle* handle, F body) noexcept {
  try {
    handle->error = body();
  } catch (const std::exception& e) {
    handle->error = e.what();
  }
  return handle->error.empty() ? 0 : 1;
}

extern "C" {

Handle* cbp_emu_open(const emu::Options* options) {
  try {
    return new Handle(*options);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void cbp_emu_close(Handle* handle) { delete handle; }

const char* cbp_emu_error(const Handle* handle) { return handle->error.c_str(); }

int cbp_emu_alloc(Handle* handle, size_t bytes, const char* label, uint64_t* address) {
  return guarded(handle, [&]() -> std::string {
    *address = handle->device.memory.alloc(bytes, label);
    return *address ? "" : "no memory for " + std::to_string(bytes) + " bytes of \"" + label + "\"";
  });
}

int cbp_emu_free(Handle* handle, uint64_t address) {
  return guarded(handle, [&]() -> std::string {
    return handle->device.memory.free(address) ? "" : "free of an address that is not the start of an allocation";
  });
}

int cbp_emu_upload(Handle* handle, uint64_t to, const void* from, size_t bytes) {
  return guarded(handle, [&] {
    std::string error;
    if (uint8_t* at = handle->device.memory.writable(to, bytes, &error)) memcpy(at, from, bytes);
    return error;
  });
}

int cbp_emu_download(Handle* handle, uint64_t from, void* to, size_t bytes) {
  return guarded(handle, [&] {
    std::string error;
    if (const uint8_t* at = handle->device.memory.range(from, bytes, &error)) memcpy(to, at, bytes);
    return error;
  });
}

int cbp_emu_zero(Handle* handle, uint64_t at, size_t bytes) {
  return guarded(handle, [&] {
    std::string error;
    if (uint8_t* to = handle->device.memory.writable(at, bytes, &error)) memset(to, 0, bytes);
    return error;
  });
}

int cbp_emu_launch(Handle* handle, const char* kernel, const uint32_t grid[3], const uint32_t block[3],
                   uint32_t shared_bytes, const void* args, size_t args_bytes, const char* label) {
  return guarded(handle, [&] {
    return handle->device.launch(kernel, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, shared_bytes,
                                 args, args_bytes, label);
  });
}

// Kernel i of the registry, in the order of names; 0 when there is none.
int cbp_emu_kernel(size_t i, const char** name, uint32_t* args_bytes, uint32_t* max_threads) {
  if (i >= emu::registry().size()) return 0;
  const emu::Kernel& kernel = std::next(emu::registry().begin(), static_cast<std::ptrdiff_t>(i))->second;
  *name = kernel.name;
  *args_bytes = kernel.args_bytes;
  *max_threads = kernel.max_threads;
  return 1;
}

}  // extern "C"
