// How wide vectors are. For inclusion in files that are compiled once for each instruction set.
#pragma once

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

// Bytes, as wide as the registers: GCC takes wider ones through memory.
#if defined(__AVX512F__)
constexpr int kVector = 64;
#elif defined(__AVX2__)
constexpr int kVector = 32;
#else
constexpr int kVector = 16;
#endif

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
