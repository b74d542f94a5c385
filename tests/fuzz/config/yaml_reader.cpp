// Any bytes → read_texts(): no crash, no hang, and the promises of read.hpp hold. The input is cut at NUL bytes into
// files, so that a seed may hold several. Built twice: for libFuzzer (option `fuzzing`), and with replay.cpp as a test
// that runs every seed.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/limits.hpp"
#include "config/read.hpp"

namespace {

using sepal::config::Fault;
using sepal::config::ReadResult;
using sepal::config::SourceText;

void require(bool holds) {
  if (!holds) std::abort();
}

std::vector<SourceText> cut(std::string_view input) {
  std::vector<SourceText> sources;
  while (sources.size() < 8) {
    size_t end = input.find('\0');
    sources.push_back({"file-" + std::to_string(sources.size()), std::string(input.substr(0, end))});
    if (end == std::string_view::npos) return sources;
    input.remove_prefix(end + 1);
  }
  return sources;
}

void check_fault(const Fault& fault) {
  require(!fault.what.empty() && !fault.hint.empty());
  require((fault.line == 0) == (fault.column == 0));
  for (char c : fault.to_string()) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto sources = cut({reinterpret_cast<const char*>(data), size});
  ReadResult result = read_texts(sources);
  require(result == read_texts(sources));
  if (result) {
    require(validate(*result).empty());
    return 0;
  }
  require(!result.error().empty() && result.error().size() <= sepal::limits::kFaultsShownMax + 1);
  for (const Fault& fault : result.error()) check_fault(fault);
  return 0;
}
