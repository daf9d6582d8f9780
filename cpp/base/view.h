// Dense row-major arrays that somebody else owns. The adapters make them from tensors and NumPy arrays.
#ifndef KSEG_BASE_VIEW_H_
#define KSEG_BASE_VIEW_H_

#include <array>
#include <cstdint>
#include <sstream>
#include <string>

namespace kseg {

template <int rank>
using Shape = std::array<int64_t, rank>;

template <class T, int rank>
struct View {
  T* data = nullptr;
  Shape<rank> shape{};

  int64_t size() const {
    int64_t count = 1;
    for (int64_t extent : shape) count *= extent;
    return count;
  }
  bool empty() const { return size() == 0; }
};

template <int rank>
std::string to_string(const Shape<rank>& shape) {
  std::ostringstream text;
  text << '[';
  for (int axis = 0; axis < rank; ++axis) text << (axis ? ", " : "") << shape[axis];
  text << ']';
  return text.str();
}

}  // namespace kseg

#endif  // KSEG_BASE_VIEW_H_
