#include "ops/rle/rle.h"

#include <optional>
#include <tuple>
#include <utility>

#include "adapters/numpy_adapter.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

// Run lengths as Python has them: compressed text as bytes, or int64 arrays; and `sizes`, int64 [N, 2].
class Sources {
 public:
  Sources(const py::list& payloads, const py::array& sizes_array, const char* argument,
          const std::string& sizes_argument = "sizes")
      : payloads_(payloads) {
    const py::array dense_sizes = dense(sizes_array);
    const auto sizes = view_of<int64_t, 2>(dense_sizes, sizes_argument.c_str());
    if (sizes.shape[1] != 2 || sizes.shape[0] != static_cast<int64_t>(payloads.size())) {
      throw py::value_error(sizes_argument + " must be [N, 2] with a row per mask, " + std::to_string(payloads.size()) +
                            ", got " + to_string<2>(sizes.shape));
    }
    sources_.resize(payloads.size());
    for (size_t i = 0; i < payloads.size(); ++i) {
      const std::string name = std::string(argument) + "[" + std::to_string(i) + "] counts";
      RleSource& source = sources_[i];
      source.height = sizes.data[2 * i];
      source.width = sizes.data[2 * i + 1];
      const py::handle payload = payloads[i];
      if (PyBytes_Check(payload.ptr())) {
        source.text = PyBytes_AS_STRING(payload.ptr());
        source.length = PyBytes_GET_SIZE(payload.ptr());
      } else if (py::isinstance<py::array>(payload)) {
        kept_.push_back(dense(py::reinterpret_borrow<py::array>(payload)));
        const auto counts = view_of<int64_t, 1>(kept_.back(), name.c_str());
        source.counts = counts.data;
        source.length = counts.shape[0];
      } else {
        throw py::type_error(name + " must be bytes or an array");
      }
    }
  }

  const std::vector<RleSource>& list() const { return sources_; }
  int64_t size() const { return static_cast<int64_t>(sources_.size()); }

  // Calls visit(index, rle) for each mask, without the GIL.
  template <class Visit>
  void visit(const char* argument, int64_t cost, const Visit& visit) const {
    run_kernel([&](const ParallelFor& parallel_for) {
      return for_each_rle(sources_, 0, size(), argument, cost, parallel_for, visit);
    });
  }

 private:
  py::list payloads_;            // holds the bytes
  std::vector<py::array> kept_;  // hold the arrays
  std::vector<RleSource> sources_;
};

std::vector<Rle> read(const Sources& sources, const char* argument) {
  std::vector<Rle> rles(sources.list().size());
  sources.visit(argument, 0, [&](int64_t i, const Rle& rle) { rles[i] = rle; });
  return rles;
}

py::list as_bytes(const std::vector<std::string>& strings) {
  py::list list;
  for (const std::string& text : strings) list.append(py::bytes(text));
  return list;
}

py::list texts(const std::vector<Rle>& rles) {
  std::vector<std::string> made(rles.size());
  run_kernel([&](const ParallelFor& parallel_for) {
    parallel_for.run(static_cast<int64_t>(rles.size()), 3000, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) made[i] = rle_to_text(rles[i]);
    });
    return Status();
  });
  return as_bytes(made);
}

py::list encode(const py::array& masks) {
  const py::array from = dense(masks);
  const auto view = view_of<uint8_t, 3>(from, "masks");
  std::vector<Rle> rles;
  run_kernel([&](const ParallelFor& parallel_for) { return rle_encode(view, &rles, parallel_for); });
  return texts(rles);
}

py::list encode_packed(const py::array& packed, int64_t width) {
  const py::array from = dense(packed);
  const auto view = view_of<uint8_t, 3>(from, "packed");
  std::vector<Rle> rles;
  run_kernel([&](const ParallelFor& parallel_for) { return rle_encode_packed(view, width, &rles, parallel_for); });
  return texts(rles);
}

py::array decode(const py::list& payloads, const py::array& sizes, bool packed) {
  const Sources sources(payloads, sizes, "rles");
  const int64_t height = sources.size() ? sources.list()[0].height : 0;
  const int64_t width = sources.size() ? sources.list()[0].width : 0;
  for (size_t i = 0; i < sources.list().size(); ++i) {
    const RleSource& source = sources.list()[i];
    const Status status = check_rle_size(source.height, source.width);  // before an array of that size is made
    if (!status.ok()) throw py::value_error("rles[" + std::to_string(i) + "] size " + status.message());
  }
  for (const RleSource& source : sources.list()) {
    if (source.height != height || source.width != width) {
      throw py::value_error("rles must have one size, got " + to_string<2>({height, width}) + " and " +
                            to_string<2>({source.height, source.width}));
    }
  }
  // Read once before: text of a few bytes must not ask for gigabytes in vain.
  sources.visit("rles", 0, [](int64_t, const Rle&) {});
  auto [array, view] = new_array<uint8_t, 3>({sources.size(), height, packed ? (width + 7) / 8 : width});
  const View<uint8_t, 3> to = view;
  run_kernel([&](const ParallelFor& parallel_for) {
    return packed ? rle_decode_packed(sources.list(), width, to, parallel_for)
                  : rle_decode(sources.list(), to, parallel_for);
  });
  return array;
}

py::array area(const py::list& payloads, const py::array& sizes) {
  const Sources sources(payloads, sizes, "rles");
  auto [array, view] = new_array<int64_t, 1>({sources.size()});
  int64_t* const to = view.data;
  sources.visit("rles", 0, [to](int64_t i, const Rle& rle) { to[i] = rle_area(rle); });
  return array;
}

py::array to_boxes(const py::list& payloads, const py::array& sizes) {
  const Sources sources(payloads, sizes, "rles");
  auto [array, view] = new_array<int64_t, 2>({sources.size(), 4});
  int64_t* const to = view.data;
  sources.visit("rles", 0, [to](int64_t i, const Rle& rle) { rle_box(rle, to + 4 * i); });
  return array;
}

py::list boundary(const py::list& payloads, const py::array& sizes, const py::array& reaches) {
  const Sources sources(payloads, sizes, "rles");
  const py::array kept = dense(reaches);
  const auto reach = view_of<int64_t, 1>(kept, "reaches");
  bool fits = reach.shape[0] == sources.size();
  for (int64_t i = 0; fits && i < reach.shape[0]; ++i) fits = reach.data[i] >= 1 && reach.data[i] <= kMostRlePixels;
  if (!fits) {
    throw py::value_error("reaches must have one entry per mask, " + std::to_string(sources.size()) + ", in 1.." +
                          std::to_string(kMostRlePixels));
  }
  std::vector<std::string> made(sources.list().size());
  sources.visit("rles", 20000, [&](int64_t i, const Rle& rle) {
    Rle ring;
    rle_boundary(rle, reach.data[i], &ring);
    made[i] = rle_to_text(ring);
  });
  return as_bytes(made);
}

py::list to_counts(const py::list& payloads, const py::array& sizes) {
  py::list list;
  for (const Rle& rle : read(Sources(payloads, sizes, "rles"), "rles")) {
    auto [array, view] = new_array<int64_t, 1>({static_cast<int64_t>(rle.counts.size())});
    for (size_t i = 0; i < rle.counts.size(); ++i) view.data[i] = rle.counts[i];
    list.append(array);
  }
  return list;
}

py::list compress(const py::list& payloads, const py::array& sizes, const std::string& argument) {
  const Sources sources(payloads, sizes, argument.c_str());
  std::vector<std::string> made(sources.list().size());
  sources.visit(argument.c_str(), 0, [&](int64_t i, const Rle& rle) { made[i] = rle_to_text(rle); });
  return as_bytes(made);
}

py::list merge(const py::list& payloads, const py::array& sizes, bool intersect) {
  const std::vector<Rle> rles = read(Sources(payloads, sizes, "rles"), "rles");
  if (rles.empty()) throw py::value_error("rles must hold at least one mask");
  std::vector<Rle> merged(1);
  const Status status = rle_merge(rles.data(), static_cast<int64_t>(rles.size()), intersect, merged.data());
  if (!status.ok()) throw py::value_error("rles " + status.message());
  return texts(merged);
}

py::list from_polygons(const py::list& polygons, std::pair<int64_t, int64_t> image_size) {
  Status status = check_rle_size(image_size.first, image_size.second);
  if (!status.ok()) throw py::value_error("image_size " + status.message());
  Rle empty;
  empty.height = image_size.first;
  empty.width = image_size.second;
  std::vector<Rle> parts(polygons.size(), empty);
  for (size_t i = 0; i < polygons.size(); ++i) {
    const std::string name = "polygons[" + std::to_string(i) + "]";
    if (!py::isinstance<py::array>(polygons[i])) throw py::type_error(name + " must be a float64 array");
    const py::array polygon = dense(py::reinterpret_borrow<py::array>(polygons[i]));
    const auto corners = view_of<double, 1>(polygon, name.c_str());
    if (corners.shape[0] % 2 != 0) {
      throw py::value_error(name + " must hold pairs of x and y, got " + std::to_string(corners.shape[0]) +
                            " coordinates");
    }
    status = rle_from_polygon(corners.data, corners.shape[0] / 2, &parts[i]);
    if (!status.ok()) throw py::value_error(name + " " + status.message());
  }
  if (parts.size() == 1) return texts(parts);
  if (parts.empty()) {
    parts.push_back(empty);
    parts[0].counts.push_back(static_cast<uint32_t>(empty.height * empty.width));
  }
  std::vector<Rle> merged(1);
  raise_if_error(rle_merge(parts.data(), static_cast<int64_t>(parts.size()), false, merged.data()));
  return texts(merged);
}

// `a_splits` and `b_splits`, int64 [G + 1], cut the masks into groups that are compared each for itself.
py::array iou(const py::list& a, const py::array& a_sizes, const py::array& a_splits, const py::list& b,
              const py::array& b_sizes, const py::array& b_splits, const std::optional<py::array>& is_crowd) {
  const Sources of_a(a, a_sizes, "a", "a_sizes"), of_b(b, b_sizes, "b", "b_sizes");
  const py::array a_dense = dense(a_splits), b_dense = dense(b_splits);
  const auto a_view = view_of<int64_t, 1>(a_dense, "a_splits"), b_view = view_of<int64_t, 1>(b_dense, "b_splits");
  const int64_t groups = a_view.shape[0] - 1;
  if (groups < 0 || b_view.shape[0] != groups + 1) {
    throw py::value_error("a_splits and b_splits must have equally many entries, at least one, got " +
                          std::to_string(a_view.shape[0]) + " and " + std::to_string(b_view.shape[0]));
  }
  for (const auto& [name, view, size] :
       {std::tuple("a_splits", a_view, of_a.size()), std::tuple("b_splits", b_view, of_b.size())}) {
    bool fits = view.data[0] == 0 && view.data[groups] == size;
    for (int64_t i = 0; i < groups; ++i) fits = fits && view.data[i] <= view.data[i + 1];
    if (!fits) {
      throw py::value_error(std::string(name) + " must rise from 0 to the number of masks, " + std::to_string(size));
    }
  }
  std::vector<RleGroup> pairs;
  int64_t total = 0;
  for (int64_t i = 0; i < groups; ++i) {
    pairs.push_back({a_view.data[i], a_view.data[i + 1], b_view.data[i], b_view.data[i + 1]});
    total += (a_view.data[i + 1] - a_view.data[i]) * (b_view.data[i + 1] - b_view.data[i]);
  }
  py::array crowd;
  const uint8_t* crowd_data = nullptr;
  if (is_crowd) {
    crowd = dense(*is_crowd);
    const auto view = view_of<uint8_t, 1>(crowd, "is_crowd");
    if (view.shape[0] != of_b.size()) {
      throw py::value_error("is_crowd must have one entry per mask of b, " + std::to_string(of_b.size()) + ", got " +
                            std::to_string(view.shape[0]));
    }
    crowd_data = view.data;
  }
  auto [array, view] = new_array<double, 1>({total});
  double* const to = view.data;
  run_kernel([&](const ParallelFor& parallel_for) {
    return rle_iou(of_a.list(), of_b.list(), pairs, crowd_data, to, parallel_for);
  });
  return array;
}

}  // namespace

void bind_rle(py::module_& module) {
  module.def("rle_encode", &encode, py::arg("masks"), "uint8 [N, H, W] -> list of COCO's compressed counts.");
  module.def("rle_encode_packed", &encode_packed, py::arg("packed"), py::arg("width"),
             "uint8 [N, H, ceil(width / 8)], lowest bit first -> list of compressed counts.");
  module.def("rle_decode", &decode, py::arg("payloads"), py::arg("sizes"), py::arg("packed"),
             "Counts (bytes, or int64 arrays) and int64 [N, 2] heights and widths -> uint8 [N, H, W], or packed.");
  module.def("rle_area", &area, py::arg("payloads"), py::arg("sizes"), "-> int64 [N].");
  module.def("rle_to_boxes", &to_boxes, py::arg("payloads"), py::arg("sizes"), "-> int64 [N, 4], x1 y1 x2 y2.");
  module.def("rle_boundary", &boundary, py::arg("payloads"), py::arg("sizes"), py::arg("reaches"),
             "-> list of the compressed counts of what erosion by int64 [N] rows and columns takes away.");
  module.def("rle_to_counts", &to_counts, py::arg("payloads"), py::arg("sizes"), "-> list of int64 arrays.");
  module.def("rle_compress", &compress, py::arg("payloads"), py::arg("sizes"), py::arg("argument"),
             "-> list of bytes with the same counts; `argument` is what errors call the payloads.");
  module.def("rle_merge", &merge, py::arg("payloads"), py::arg("sizes"), py::arg("intersect"), "-> list of one.");
  module.def("rle_from_polygons", &from_polygons, py::arg("polygons"), py::arg("image_size"),
             "Float64 arrays of x and y in turn -> list of the compressed counts of their union.");
  module.def("rle_iou", &iou, py::arg("a"), py::arg("a_sizes"), py::arg("a_splits"), py::arg("b"), py::arg("b_sizes"),
             py::arg("b_splits"), py::arg("is_crowd") = py::none(),
             "The IoU of all pairs within each group, float64, group after group and row after row.");
}

}  // namespace kseg
