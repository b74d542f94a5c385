// Any bytes → decode_filter(): no crash, no read beyond the end, and what it understands survives being encoded and
// decoded again. Built twice: for libFuzzer (option `fuzzing`), and with decode_filter_replay.cpp as a test.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <variant>
#include <vector>

#include "tc/codec/flower.hpp"
#include "tc/codec/qdisc.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sepal;
  const std::span<const uint8_t> message(data, size);
  if (auto qdisc = tc::decode_qdisc(message); !qdisc) require(qdisc.error().code == Errc::protocol);
  auto filter = tc::decode_filter(message);
  if (!filter) {
    require(filter.error().code == Errc::protocol);
    return 0;
  }
  require(tc::to_text(filter->rule).find('\n') == std::string::npos || filter->kind != "flower");
  (void)tc::content_hash(filter->rule.spec, filter->rule.id.protocol);

  tc::EncodeContext context;
  context.program_fd = [](const tc::Bpf&) { return 3; };
  const tc::Cookie cookie = filter->state.cookie.value_or(tc::Cookie{});
  std::vector<uint8_t> bytes;
  if (!tc::encode_add(bytes, filter->rule, cookie, tc::AddMode::create, context)) {
    require(bytes.empty());
    return 0;
  }
  auto again = tc::decode_filter(bytes);
  require(again.has_value());
  for (tc::Action& action : filter->rule.spec.actions) {  // a request names a program by descriptor, not by tag
    if (auto* bpf = std::get_if<tc::Bpf>(&action.kind)) bpf->tag = {};
  }
  require(again->rule == filter->rule);
  require(again->state.cookie == cookie);
  require(again->state.unknown_attributes == 0);
  return 0;
}
