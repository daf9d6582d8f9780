// Along rows: the least of the parabolas that stand on the columns' distances. Code of the target.
#ifndef KSEG_OPS_DISTANCE_TRANSFORM_ROW_DISTANCES_H_
#define KSEG_OPS_DISTANCE_TRANSFORM_ROW_DISTANCES_H_

#include "ops/distance_transform/distance_transform.h"
#include "ops/distance_transform/distance_weights.h"

#include "base/kernel.h"

KSEG_KERNEL_BEGIN
namespace {

KSEG_INLINE bool any_lane(VecI mask) {
#if defined(KSEG_TARGET_AVX512)
  return _mm512_movepi32_mask((__m512i)mask) != 0;
#elif defined(KSEG_TARGET_AVX2)
  return _mm256_movemask_epi8((__m256i)mask) != 0;
#elif KSEG_X86
  return _mm_movemask_epi8((__m128i)mask) != 0;
#else
  int32_t any = 0;
  for (int lane = 0; lane < kLanes<int32_t>; ++lane) any |= mask[lane];
  return any != 0;
#endif
}

// The end of the run of equal kind that begins at `x`.
KSEG_INLINE int64_t run_end(const uint8_t* mask, int64_t x, int64_t width) {
  const bool kind = mask[x] != 0;
  int64_t end = x + 1;
  while (end < width && (mask[end] != 0) == kind) ++end;
  return end;
}

// The lower envelope of one run: for each of its pixels the column of the nearest pixel of the other kind. Columns
// outside the run need no look: the pixels beside it are of the other kind, and nearer than all beyond them.
template <class Cost>
class Envelope {
 public:
  explicit Envelope(int64_t width) : sites_(width + 2), starts_(width + 2) {}

  // column_cost[x] is the cost along the column of x, `none` if it has no such pixel; calls found(x, site).
  template <class Found>
  void scan(const Cost* column_cost, int64_t begin, int64_t end, int64_t width, Cost weight, Cost none, Found&& found) {
    const auto cost = [&](int64_t x, int64_t site) {
      const Cost distance = static_cast<Cost>(x - site);
      return column_cost[site] + weight * (distance * distance);
    };
    int64_t top = -1;
    for (int64_t site = std::max<int64_t>(begin - 1, 0); site < std::min(end + 1, width); ++site) {
      if (column_cost[site] == none) continue;
      while (top >= 0 && cost(starts_[top], sites_[top]) > cost(starts_[top], site)) --top;
      if (top < 0) {
        top = 0;
        sites_[0] = site;
        starts_[0] = begin;
        continue;
      }
      const int64_t last = sites_[top];
      // Exact where the costs are whole: numerator and denominator are below 2**53, so that the quotient cannot be
      // rounded up to a whole number that it does not reach. A tie goes to the left.
      const double rise = static_cast<double>(column_cost[site]) - static_cast<double>(column_cost[last]);
      const double numerator =
          rise + static_cast<double>(weight) * (static_cast<double>(site + last) * static_cast<double>(site - last));
      const double quotient = numerator / (2 * static_cast<double>(weight) * static_cast<double>(site - last));
      // Between equal costs it is the middle for any weight, with no rounding that could move it.
      const double meet = rise == 0 ? static_cast<double>((site + last) / 2) : std::floor(quotient);
      if (!(meet + 1 < static_cast<double>(end))) continue;
      ++top;
      sites_[top] = site;
      // Where one spacing is lost beside the other in rounding, the quotient may lie before the last start, by any
      // amount.
      starts_[top] = static_cast<int64_t>(std::max(meet, static_cast<double>(starts_[top - 1]))) + 1;
    }
    for (int64_t place = 0; place <= top; ++place) {
      const int64_t until = place < top ? starts_[place + 1] : end;
      for (int64_t x = starts_[place]; x < until; ++x) found(x, sites_[place]);
    }
  }

 private:
  std::vector<int64_t> sites_;
  std::vector<int64_t> starts_;
};

// Any spacing and size.
template <class Offset>
class GeneralRow {
 public:
  GeneralRow(int64_t width, const DistanceWeights& weights, bool)
      : width_(width), weights_(weights), envelope_(width), costs_(width) {}

  void find_distances(const uint8_t* mask, const Offset* offsets, int64_t y, bool is_signed, float* distances,
                      int32_t* indices) {
    for (const bool kind : {true, false}) {
      if (!kind && !is_signed) break;
      for (int64_t x = 0; x < width_; ++x) {
        const double offset = static_cast<double>(offsets[x]);
        const double cost = offsets[x] == 0 ? -1.0 : weights_.row * (offset * offset);
        costs_[x] = (mask[x] != 0) == kind ? cost : 0.0;
      }
      const float sign = kind ? 1.0f : -1.0f;
      for (int64_t begin = 0, end; begin < width_; begin = end) {
        end = run_end(mask, begin, width_);
        if ((mask[begin] != 0) != kind) {
          if (!is_signed) {
            for (int64_t x = begin; x < end; ++x) put(x, y, 0.0f, x, 0, distances, indices);
          }
          continue;
        }
        for (int64_t x = begin; x < end; ++x) {
          distances[x] = sign * std::numeric_limits<float>::infinity();
          if (indices != nullptr) indices[2 * x] = indices[2 * x + 1] = -1;
        }
        envelope_.scan(costs_.data(), begin, end, width_, weights_.column, -1.0, [&](int64_t x, int64_t site) {
          const double apart = static_cast<double>(x - site);
          const double squared = costs_[site] + weights_.column * (apart * apart);
          const int64_t rows = (mask[site] != 0) == kind ? offsets[site] : 0;
          put(x, y, sign * static_cast<float>(std::sqrt(squared * weights_.unit)), site, rows, distances, indices);
        });
      }
    }
  }

 private:
  static void put(int64_t x, int64_t y, float distance, int64_t column, int64_t rows, float* distances,
                  int32_t* indices) {
    distances[x] = distance;
    if (indices == nullptr) return;
    indices[2 * x] = static_cast<int32_t>(y + rows);
    indices[2 * x + 1] = static_cast<int32_t>(column);
  }

  int64_t width_;
  DistanceWeights weights_;
  Envelope<double> envelope_;
  std::vector<double> costs_;
};

// Equal spacing on both axes and sides of at most kMostShortSide: squared distances in pixels fit int32. Pixels at most
// kReach columns from their nearest one are found by comparing shifted rows, a vector of pixels at a time; the envelope
// is left for runs that have others.
class WholeRow {
 public:
  WholeRow(int64_t width, const DistanceWeights& weights, bool with_indices)
      : width_(width),
        unit_(weights.unit),
        envelope_(width),
        padded_(width + 2 * kReach + kLane, kNone),
        best_(width + kLane),
        shift_(with_indices ? width + kLane : 0) {
    for (int64_t lane = 0; lane < kLane; ++lane) inside_[lane] = width_ - width_ % kLane + lane < width_ ? -1 : 0;
  }

  void find_distances(const uint8_t* mask, const int16_t* offsets, int64_t y, bool is_signed, float* distances,
                      int32_t* indices) {
    for (const bool kind : {true, false}) {
      if (!kind && !is_signed) break;
      int32_t* const costs = padded_.data() + kReach;
      for (int64_t x = 0; x < width_; ++x) {
        const int32_t offset = offsets[x];
        const int32_t squared = offset == 0 ? kNone : offset * offset;
        costs[x] = (mask[x] != 0) == kind ? squared : 0;
      }
      const bool found_all = indices == nullptr ? search<false>(costs) : search<true>(costs);
      if (!found_all) scan_far(mask, costs, kind, indices != nullptr);
      write_distances(mask, kind, is_signed, distances);
      if (indices != nullptr) write_indices(mask, offsets, y, kind, is_signed, indices);
    }
  }

 private:
  static constexpr int64_t kLane = kLanes<int32_t>;
  static constexpr int32_t kReach = 24;
  static constexpr int32_t kFar = (kReach + 1) * (kReach + 1);  // a cost from here on may be beaten from beyond
  static constexpr int32_t kNone =
      std::numeric_limits<int32_t>::max() - kReach * kReach;  // above all squared distances

  template <bool with_shift>
  bool search(const int32_t* costs) {
    VecI far = {};
    for (int64_t x = 0; x < width_; x += kLane) {
      VecI best = load(costs + x);
      if (x + kLane > width_) best &= inside_;  // what stands behind the row has been found
      VecI shift = {};
      for (int32_t d = 1; d <= kReach; ++d) {
        const VecI squared = splat(d * d);
        if (!any_lane(best >= squared)) break;
        const VecI left = load(costs + x - d) + squared;
        const VecI right = load(costs + x + d) + squared;
        if constexpr (with_shift) {
          shift = left <= best ? splat(-d) : shift;  // of equal costs the leftmost
          best = left < best ? left : best;
          shift = right < best ? splat(d) : shift;
        } else {
          best = left < best ? left : best;
        }
        best = right < best ? right : best;
      }
      far |= best >= splat(kFar);
      store(best_.data() + x, best);
      if constexpr (with_shift) store(shift_.data() + x, shift);
    }
    return !any_lane(far);
  }

  void scan_far(const uint8_t* mask, const int32_t* costs, bool kind, bool with_shift) {
    for (int64_t begin = 0, end; begin < width_; begin = end) {
      end = run_end(mask, begin, width_);
      if ((mask[begin] != 0) != kind) continue;
      int32_t most = 0;
      for (int64_t x = begin; x < end; ++x) most = std::max(most, best_[x]);
      if (most < kFar) continue;
      envelope_.scan(costs, begin, end, width_, 1, kNone, [&](int64_t x, int64_t site) {
        const int32_t shift = static_cast<int32_t>(site - x);
        best_[x] = costs[site] + shift * shift;
        if (with_shift) shift_[x] = shift;
      });
    }
  }

  void write_distances(const uint8_t* mask, bool kind, bool is_signed, float* distances) {
    constexpr int32_t kFloatExact = 1 << 24;
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float sign = kind ? 1.0f : -1.0f;
    int32_t most = 0;
    for (int64_t x = 0; x < width_; ++x) most = std::max(most, best_[x]);
    float* const to = kind || !is_signed ? distances : scratch();
    if (most <= kFloatExact && unit_ == 1) {
      for (int64_t x = 0; x < width_; ++x) to[x] = std::sqrt(static_cast<float>(best_[x]));
    } else {
      // The root of a whole number below 2**53, rounded to double, still lies on the right side of every number halfway
      // between two floats: it is rounded as the exact root would be.
      for (int64_t x = 0; x < width_; ++x) {
        const float distance = static_cast<float>(std::sqrt(static_cast<double>(best_[x]) * unit_));
        to[x] = best_[x] == kNone ? kInfinity : distance;
      }
    }
    if (to == distances) return;
    for (int64_t x = 0; x < width_; ++x) distances[x] = (mask[x] != 0) == kind ? sign * to[x] : distances[x];
  }

  float* scratch() {
    roots_.resize(width_);
    return roots_.data();
  }

  void write_indices(const uint8_t* mask, const int16_t* offsets, int64_t y, bool kind, bool is_signed,
                     int32_t* indices) {
    for (int64_t x = 0; x < width_; ++x) {
      if ((mask[x] != 0) != kind && is_signed) continue;
      const int64_t column = x + shift_[x];
      const bool none = best_[x] == kNone;
      // A column in which the pixel's own kind stands here has its nearest one above or below.
      const int64_t rows = (mask[column] != 0) == kind ? offsets[column] : 0;
      indices[2 * x] = none ? -1 : static_cast<int32_t>(y + rows);
      indices[2 * x + 1] = none ? -1 : static_cast<int32_t>(column);
    }
  }

  int64_t width_;
  double unit_;
  VecI inside_;  // the lanes of a row's last, partial vector that are in the row
  Envelope<int32_t> envelope_;
  std::vector<int32_t> padded_;  // the costs along columns, with kNone around
  std::vector<int32_t> best_;
  std::vector<int32_t> shift_;
  std::vector<float> roots_;
};

}  // namespace
KSEG_KERNEL_END

#endif  // KSEG_OPS_DISTANCE_TRANSFORM_ROW_DISTANCES_H_
