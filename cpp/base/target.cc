#include "base/target.h"

#include <atomic>
#include <cstdlib>

namespace kseg {
namespace {

constexpr int kDefault = -1;

std::atomic<int> g_forced{kDefault};
std::atomic<int64_t> g_calls[kTargetCount];

bool machine_runs(Target target) {
#if KSEG_X86
  switch (target) {
    case Target::kBaseline:
      return true;
    case Target::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    case Target::kAvx512:
      return machine_runs(Target::kAvx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
  return false;
#else
  return target == Target::kBaseline;
#endif
}

bool find_target(const std::string& name, Target* found) {
  for (int index = 0; index < kTargetCount; ++index) {
    const Target target = static_cast<Target>(index);
    if (name == target_name(target) || (index == 0 && name == "baseline")) {
      *found = target;
      return true;
    }
  }
  return false;
}

std::string supported_names() {
  std::string names;
  for (Target target : supported_targets()) names += (names.empty() ? "" : ", ") + std::string(target_name(target));
  return names;
}

Status check_target(const std::string& name, Target* target) {
  if (!find_target(name, target)) {
    return invalid_argument("unknown SIMD target '", name, "'; this machine supports ", supported_names());
  }
  if (!machine_runs(*target)) {
    return invalid_argument("SIMD target '", name, "' is not supported by this machine, which has ", supported_names());
  }
  return Status();
}

struct DefaultTarget {
  Target target;
  std::string problem;
};

const DefaultTarget& default_target() {
  static const DefaultTarget chosen = [] {
    DefaultTarget result{supported_targets().back(), ""};
    const char* wish = std::getenv("KSEG_SIMD");
    if (wish == nullptr || *wish == '\0') return result;
    Target target;
    const Status status = check_target(wish, &target);
    if (status.ok()) {
      result.target = target;
    } else {
      result.problem = "KSEG_SIMD: " + status.message() + "; using " + target_name(result.target);
    }
    return result;
  }();
  return chosen;
}

}  // namespace

const char* target_name(Target target) {
  switch (target) {
    case Target::kAvx2:
      return "avx2";
    case Target::kAvx512:
      return "avx512";
    case Target::kBaseline:
      break;
  }
  return KSEG_X86 ? "baseline" : "neon";
}

std::vector<Target> supported_targets() {
  std::vector<Target> targets;
  for (int index = 0; index < kTargetCount; ++index) {
    if (machine_runs(static_cast<Target>(index))) targets.push_back(static_cast<Target>(index));
  }
  return targets;
}

Target active_target() {
  const int forced = g_forced.load(std::memory_order_relaxed);
  return forced == kDefault ? default_target().target : static_cast<Target>(forced);
}

std::string target_problem() { return default_target().problem; }

Status set_target(const std::string& name) {
  if (name.empty()) {
    g_forced = kDefault;
    return Status();
  }
  Target target;
  KSEG_RETURN_IF_ERROR(check_target(name, &target));
  g_forced = static_cast<int>(target);
  return Status();
}

int64_t target_calls(Target target) { return g_calls[static_cast<int>(target)].load(std::memory_order_relaxed); }

void count_call(Target target) { g_calls[static_cast<int>(target)].fetch_add(1, std::memory_order_relaxed); }

}  // namespace kseg
