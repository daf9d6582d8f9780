#include "ops/connected_components/connected_components.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "base/huge_pages.h"
#include "ops/connected_components/connected_components_check.h"
// Last: it switches the instruction set.
#include "base/kernel.h"

KSEG_KERNEL_BEGIN
namespace {

// About this many pixels per stripe: its runs and their sets stay in the second-level cache.
constexpr int64_t kStripePixels = int64_t{1} << 17;

// Columns [start, end) of one row.
struct Run {
  int32_t start;
  int32_t end;
};

// Bit i: whether pixel i of 64 is foreground.
KSEG_INLINE uint64_t foreground_bits(const uint8_t* from) {
#if defined(KSEG_TARGET_AVX512)
  const __m512i pixels = _mm512_loadu_si512(from);
  return _mm512_test_epi8_mask(pixels, pixels);
#elif defined(KSEG_TARGET_AVX2)
  uint64_t background = 0;
  for (int part = 0; part < 2; ++part) {
    const __m256i pixels = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32 * part));
    const __m256i zero = _mm256_cmpeq_epi8(pixels, _mm256_setzero_si256());
    background |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(zero))) << (32 * part);
  }
  return ~background;
#elif KSEG_X86
  uint64_t background = 0;
  for (int part = 0; part < 4; ++part) {
    const __m128i pixels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 16 * part));
    const __m128i zero = _mm_cmpeq_epi8(pixels, _mm_setzero_si128());
    background |= static_cast<uint64_t>(static_cast<uint32_t>(_mm_movemask_epi8(zero))) << (16 * part);
  }
  return ~background;
#else
  uint64_t bits = 0;
  for (int i = 0; i < 64; ++i) bits |= static_cast<uint64_t>(from[i] != 0) << i;
  return bits;
#endif
}

// Writes the runs of a row and returns how many.
int64_t find_runs(const uint8_t* row, int64_t width, Run* runs) {
  int32_t* edge = &runs->start;  // starts and ends in turn
  uint64_t before = 0;           // the last pixel of the 64 before
  const auto add_edges = [&](uint64_t bits, int64_t x) {
    uint64_t changes = bits ^ (bits << 1 | before);
    before = bits >> 63;
    while (changes != 0) {
      *edge++ = static_cast<int32_t>(x + __builtin_ctzll(changes));
      changes &= changes - 1;
    }
  };
  int64_t x = 0;
  for (; x + 64 <= width; x += 64) add_edges(foreground_bits(row + x), x);
  if (x < width) {
    uint8_t rest[64] = {};
    std::copy(row + x, row + width, rest);
    add_edges(foreground_bits(rest), x);  // background follows the row, so that a run at its end is closed here
  } else if (before != 0) {
    *edge++ = static_cast<int32_t>(width);
  }
  return (edge - &runs->start) / 2;
}

KSEG_INLINE int32_t find_root(int32_t* parent, int32_t run) {
  while (parent[run] != run) {
    parent[run] = parent[parent[run]];
    run = parent[run];
  }
  return run;
}

// Joins each run of a row with the runs of the row above that touch it. Calls first(run, above) for the first of them,
// next(run, above) for each further one and none(run) where there is none. Runs touch if their columns overlap when
// widened by `reach`: 1 for eight neighbours, 0 for four.
template <class First, class Next, class None>
KSEG_INLINE void for_touching(const Run* runs, int32_t above, int32_t above_end, int32_t begin, int32_t end,
                              int32_t reach, First&& first, Next&& next, None&& none) {
  for (int32_t run = begin; run < end; ++run) {
    const int32_t left = runs[run].start - reach;
    const int32_t right = runs[run].end + reach;
    while (above < above_end && runs[above].end <= left) ++above;
    if (above == above_end || runs[above].start >= right) {
      none(run);
      continue;
    }
    first(run, above);
    while (above + 1 < above_end && runs[above + 1].start < right) next(run, ++above);
  }
}

// One image's runs, of stripe s from place s * per_stripe on. Places left free between stripes cost address space only:
// the memory is not touched.
struct Image {
  Run* runs;
  int32_t* parent;      // a smaller or the same place; from number_roots() on minus the label in a root's place
  int32_t* row_ends;    // for each row the place after its last run
  int32_t* roots;       // for each stripe how many of its runs are roots
  int64_t stripe_rows;
  int64_t per_stripe;   // places
};

void label_stripe(const uint8_t* rows, int64_t row_count, int64_t width, int32_t reach, const Image& image,
                  int64_t stripe) {
  Run* const runs = image.runs;
  int32_t* const parent = image.parent;
  int32_t* const row_ends = image.row_ends + stripe * image.stripe_rows;
  const int32_t first = static_cast<int32_t>(stripe * image.per_stripe);
  int32_t above = first, begin = first;
  for (int64_t y = 0; y < row_count; ++y) {
    const int32_t end = begin + static_cast<int32_t>(find_runs(rows + y * width, width, runs + begin));
    row_ends[y] = end;
    for_touching(
        runs, above, begin, begin, end, reach,
        [&](int32_t run, int32_t other) { parent[run] = find_root(parent, other); },
        [&](int32_t run, int32_t other) {
          const int32_t root = find_root(parent, other);
          const int32_t mine = parent[run];
          const int32_t low = std::min(root, mine);
          parent[std::max(root, mine)] = low;
          parent[run] = low;
        },
        [&](int32_t run) { parent[run] = run; });
    above = begin;
    begin = end;
  }
  int32_t roots = 0;
  for (int32_t run = first; run < begin; ++run) {
    parent[run] = parent[parent[run]];  // the parent stands before, and points to its root already
    roots += parent[run] == run;
  }
  image.roots[stripe] = roots;
}

// Joins the stripes of an image and turns counts of roots into the labels that stripes begin after; returns the number
// of components. Afterwards a run's root is its parent's parent at most.
int32_t join_stripes(const Image& image, int64_t height, int32_t reach) {
  int32_t* const parent = image.parent;
  std::vector<int32_t> absorbed;
  const auto join = [&](int32_t run, int32_t other) {
    const int32_t a = find_root(parent, run), b = find_root(parent, other);
    if (a == b) return;
    const int32_t high = std::max(a, b);
    parent[high] = std::min(a, b);
    absorbed.push_back(high);
    --image.roots[high / image.per_stripe];
  };
  const int64_t stripes = (height + image.stripe_rows - 1) / image.stripe_rows;
  for (int64_t stripe = 1; stripe < stripes; ++stripe) {
    const int64_t y = stripe * image.stripe_rows;
    const int32_t first = static_cast<int32_t>(stripe * image.per_stripe);
    const int32_t above =
        image.stripe_rows == 1 ? static_cast<int32_t>(first - image.per_stripe) : image.row_ends[y - 2];
    for_touching(image.runs, above, image.row_ends[y - 1], first, image.row_ends[y], reach, join, join, [](int32_t) {});
  }
  for (const int32_t root : absorbed) parent[root] = find_root(parent, root);
  int32_t total = 0;
  for (int64_t stripe = 0; stripe < stripes; ++stripe) {
    const int32_t before = total;
    total += image.roots[stripe];
    image.roots[stripe] = before;
  }
  return total;
}

void number_roots(const Image& image, int64_t stripe, int64_t row_count) {
  int32_t label = image.roots[stripe];
  const int32_t first = static_cast<int32_t>(stripe * image.per_stripe);
  const int32_t end = image.row_ends[stripe * image.stripe_rows + row_count - 1];
  for (int32_t run = first; run < end; ++run) {
    if (image.parent[run] == run) image.parent[run] = -++label;
  }
}

// Fills [from, until) and may write past it, but not past `limit`: what comes after is filled later.
KSEG_INLINE int32_t* fill(int32_t* from, int32_t* until, int32_t* limit, int32_t value) {
  const VecI values = splat(value);
  while (from < until) {
    if (limit - from < kLanes<int32_t>) {
      while (from < until) *from++ = value;
      return until;
    }
    store(from, values);
    from += kLanes<int32_t>;
  }
  return until;
}

void paint(const Image& image, int64_t stripe, int64_t row_count, int64_t width, int32_t* labels) {
  const int32_t* const parent = image.parent;
  const int32_t* const row_ends = image.row_ends + stripe * image.stripe_rows;
  int32_t* const limit = labels + row_count * width;
  int32_t run = static_cast<int32_t>(stripe * image.per_stripe);
  int32_t* to = labels;
  for (int64_t y = 0; y < row_count; ++y) {
    int32_t* const row = labels + y * width;
    for (; run < row_ends[y]; ++run) {
      int32_t label = parent[run];
      if (label >= 0) label = parent[label];
      if (label >= 0) label = parent[label];
      to = fill(to, row + image.runs[run].start, limit, 0);
      to = fill(to, row + image.runs[run].end, limit, -label);
    }
  }
  fill(to, limit, limit, 0);
}

}  // namespace

Status connected_components_kernel(const ConnectedComponentsArgs& args, const ParallelFor& parallel_for) {
  const auto [images, height, width] = args.masks.shape;
  const int32_t reach = args.connectivity == 8 ? 1 : 0;
  const int64_t row_runs = (width + 1) / 2;
  const int64_t stripe_rows = std::clamp<int64_t>(kStripePixels / width, 1, height);
  const int64_t stripes = (height + stripe_rows - 1) / stripe_rows;
  const int64_t places = stripes * stripe_rows * row_runs;
  // Without a value: only what is written is ever touched.
  const std::unique_ptr<Run[]> runs(new Run[images * places]);
  const std::unique_ptr<int32_t[]> parents(new int32_t[images * places]);
  const std::unique_ptr<int32_t[]> row_ends(new int32_t[images * height]);
  const std::unique_ptr<int32_t[]> roots(new int32_t[images * stripes]);
  const auto image_of = [&](int64_t image) {
    return Image{runs.get() + image * places,
                 parents.get() + image * places,
                 row_ends.get() + image * height,
                 roots.get() + image * stripes,
                 stripe_rows,
                 stripe_rows * row_runs};
  };
  const auto for_stripes = [&](int64_t cost, auto&& work) {
    parallel_for.run(images * stripes, cost, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t stripe = unit % stripes;
        work(unit / stripes, stripe, std::min(stripe_rows, height - stripe * stripe_rows));
      }
    });
  };
  const int64_t pixels = stripe_rows * width;
  for_stripes(pixels / 2, [&](int64_t image, int64_t stripe, int64_t row_count) {
    const uint8_t* const rows = args.masks.data + (image * height + stripe * stripe_rows) * width;
    label_stripe(rows, row_count, width, reach, image_of(image), stripe);
  });
  parallel_for.run(images, stripes * width / 4 + 100, [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) {
      args.counts.data[image] = join_stripes(image_of(image), height, reach);
    }
  });
  for_stripes(pixels / 32, [&](int64_t image, int64_t stripe, int64_t row_count) {
    number_roots(image_of(image), stripe, row_count);
  });
  for_stripes(pixels / 2, [&](int64_t image, int64_t stripe, int64_t row_count) {
    paint(image_of(image), stripe, row_count, width,
          args.labels.data + (image * height + stripe * stripe_rows) * width);
  });
  return Status();
}

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(Status connected_components_kernel(const ConnectedComponentsArgs&, const ParallelFor&))

Status connected_components(const ConnectedComponentsArgs& args, const ParallelFor& parallel_for) {
  int connectivity;
  KSEG_RETURN_IF_ERROR(check_connected_components(args.masks.shape, args.connectivity, &connectivity));
  if (args.labels.shape != args.masks.shape || args.counts.shape[0] != args.masks.shape[0]) {
    return invalid_argument("labels must have the shape of masks, ", to_string<3>(args.masks.shape),
                            ", and counts one entry per image; got ", to_string<3>(args.labels.shape), " and ",
                            to_string<1>(args.counts.shape));
  }
  if (args.masks.empty()) {
    std::fill_n(args.counts.data, args.counts.size(), 0);
    return Status();
  }
  prefer_huge_pages(args.labels.data, args.labels.size() * static_cast<int64_t>(sizeof(int32_t)));
  KSEG_RETURN_DISPATCH(connected_components_kernel, args, parallel_for);
}

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
