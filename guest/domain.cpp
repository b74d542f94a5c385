#include "guest/domain.hpp"

#include <algorithm>
#include <string_view>

namespace sepal::guest {

std::optional<std::vector<uint8_t>> encode_domain(const std::string& name) {
  constexpr size_t kLabelBytesMax = 63;
  constexpr size_t kNameBytesMax = 255;
  std::string_view rest = name;
  if (rest.ends_with('.')) rest.remove_suffix(1);
  std::vector<uint8_t> bytes;
  while (true) {
    const size_t length = std::min(rest.find('.'), rest.size());
    if (length == 0 || length > kLabelBytesMax) return std::nullopt;
    bytes.push_back(static_cast<uint8_t>(length));
    bytes.insert(bytes.end(), rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(length));
    if (length == rest.size()) break;
    rest.remove_prefix(length + 1);
  }
  bytes.push_back(0);
  if (bytes.size() > kNameBytesMax) return std::nullopt;
  return bytes;
}

}  // namespace sepal::guest
