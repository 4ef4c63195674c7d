// One kernel file as a translation unit of the emulator. build/emulate.rs compiles it twice, with and without
// CBP_CHECKED. The anonymous namespace keeps the inline functions and templates of the two builds apart, which
// the linker would otherwise merge, as their names are the same.
#include "runtime.hpp"

namespace {
#include CBP_KERNEL_FILE
}
