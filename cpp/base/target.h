// Which instruction set runs. Every kernel source is compiled once per target (see kernel.h); the choice among the
// compiled ones is made at run time, in this library alone.
#ifndef KSEG_BASE_TARGET_H_
#define KSEG_BASE_TARGET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

#if defined(__x86_64__) || defined(_M_X64)
#define KSEG_X86 1
#else
#define KSEG_X86 0
#endif

#if defined(_WIN32)
#define KSEG_API __declspec(dllexport)
#else
#define KSEG_API __attribute__((visibility("default")))
#endif

namespace kseg {

// In rising order of preference. On ARM the baseline is NEON, which every 64-bit ARM machine has.
enum class Target : int { kBaseline = 0, kAvx2 = 1, kAvx512 = 2 };
inline constexpr int kTargetCount = 3;

// "baseline" (or "neon" on ARM), "avx2", "avx512".
KSEG_API const char* target_name(Target target);

// Targets that this build holds and this machine can run, lowest first. Never empty.
KSEG_API std::vector<Target> supported_targets();

// The target in use: the best supported one, or what KSEG_SIMD asks for. An unknown or unsupported KSEG_SIMD leaves the
// best one in use; `target_problem()` says so, for the Python side to warn with.
KSEG_API Target active_target();
KSEG_API std::string target_problem();

// Makes `name` the target in use from now on ("" returns to the default choice). For tests and benchmarks.
KSEG_API Status set_target(const std::string& name);

// How many kernel calls each target has served since the library was loaded: tests use it to prove what ran.
KSEG_API int64_t target_calls(Target target);
void count_call(Target target);

}  // namespace kseg

#endif  // KSEG_BASE_TARGET_H_
