// Building and reading netlink messages, bounded. No socket here and no knowledge of a family: rtnetlink, tc and
// ctnetlink layouts live with their users. Governed by include/uapi/linux/netlink.h and lib/nlattr.c; alignment and
// header sizes come from libmnl. Headers are copied with memcpy: captured bytes need not be aligned.
#include "netlink/message.hpp"

#include <arpa/inet.h>
#include <endian.h>
#include <libmnl/libmnl.h>

#include <algorithm>
#include <cstring>

#include "base/limits.hpp"

namespace sepal::netlink {
namespace {

constexpr size_t aligned(size_t size) { return (size + (MNL_ALIGNTO - 1)) & ~static_cast<size_t>(MNL_ALIGNTO - 1); }

constexpr size_t kMessageHeader = aligned(sizeof(nlmsghdr));
constexpr size_t kAttrHeader = aligned(sizeof(nlattr));
constexpr size_t kAttrPayloadMax = UINT16_MAX - kAttrHeader;
constexpr size_t kGrowBytes = 512;  // most filters of ours are shorter

template <typename Int>
std::optional<Int> read_int(std::span<const uint8_t> payload) {
  if (payload.size() != sizeof(Int)) return std::nullopt;
  Int value{};
  std::memcpy(&value, payload.data(), sizeof value);
  return value;
}

}  // namespace

MessageBuilder::MessageBuilder(std::vector<uint8_t>& out, uint16_t type, uint16_t flags, const void* fixed_header,
                               size_t header_size)
    : out_(out), start_(out.size()), end_(out.size()) {
  const size_t size = kMessageHeader + aligned(header_size);
  if (start_ != aligned(start_) || header_size > limits::kMessageBytesMax - kMessageHeader) {
    failed_ = true;
    return;
  }
  grow(start_ + size);
  end_ = start_ + size;
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = flags;
  std::memcpy(out_.data() + start_, &header, sizeof header);
  if (header_size != 0) std::memcpy(out_.data() + start_ + kMessageHeader, fixed_header, header_size);
}

MessageBuilder::~MessageBuilder() {
  if (!finished_) out_.resize(start_);
}

// New bytes are zero, so that padding is.
void MessageBuilder::grow(size_t end) {
  if (end > out_.size()) out_.resize(end + kGrowBytes);
}

uint8_t* MessageBuilder::reserve(uint16_t type, size_t size) {
  if (failed_ || finished_ || size > kAttrPayloadMax ||
      end_ - start_ + kAttrHeader + aligned(size) > limits::kMessageBytesMax) {
    failed_ = true;
    return nullptr;
  }
  const size_t at = end_;
  end_ = at + kAttrHeader + aligned(size);
  grow(end_);
  const nlattr header{static_cast<uint16_t>(kAttrHeader + size), type};
  std::memcpy(out_.data() + at, &header, sizeof header);
  return out_.data() + at + kAttrHeader;
}

void MessageBuilder::put_bytes(uint16_t type, const void* data, size_t size) {
  uint8_t* to = reserve(type, size);
  if (to != nullptr && size != 0) std::memcpy(to, data, size);
}

void MessageBuilder::put_u8(uint16_t type, uint8_t value) { put_bytes(type, &value, sizeof value); }
void MessageBuilder::put_u16(uint16_t type, uint16_t value) { put_bytes(type, &value, sizeof value); }
void MessageBuilder::put_u32(uint16_t type, uint32_t value) { put_bytes(type, &value, sizeof value); }
void MessageBuilder::put_u64(uint16_t type, uint64_t value) { put_bytes(type, &value, sizeof value); }
void MessageBuilder::put_be16(uint16_t type, uint16_t value) { put_u16(type, htons(value)); }
void MessageBuilder::put_be32(uint16_t type, uint32_t value) { put_u32(type, htonl(value)); }
void MessageBuilder::put_flag(uint16_t type) { put_bytes(type, nullptr, 0); }

void MessageBuilder::put_string(uint16_t type, std::string_view text) {
  uint8_t* to = reserve(type, text.size() + 1);
  if (to != nullptr && !text.empty()) std::memcpy(to, text.data(), text.size());  // reserve() left the zero behind it
}

size_t MessageBuilder::open_nest(uint16_t type) {
  ++open_nests_;
  const size_t at = end_;
  return reserve(type | NLA_F_NESTED, 0) != nullptr ? at : kNowhere;
}

void MessageBuilder::close_nest(size_t at) {
  --open_nests_;
  if (failed_ || finished_ || at == kNowhere) return;
  // Fits: a message is at most kMessageBytesMax, which is below what nla_len can say.
  static_assert(limits::kMessageBytesMax <= UINT16_MAX);
  const auto length = static_cast<uint16_t>(end_ - at);
  std::memcpy(out_.data() + at + offsetof(nlattr, nla_len), &length, sizeof length);
}

MessageBuilder::Nest::Nest(MessageBuilder& builder, uint16_t type) : builder_(builder), at_(builder.open_nest(type)) {}
MessageBuilder::Nest::~Nest() { builder_.close_nest(at_); }

Result<void> MessageBuilder::finish() {
  if (finished_) return fail(Errc::internal, "netlink message finished twice");
  finished_ = true;  // whatever the outcome: what follows in the buffer is no longer ours
  if (failed_ || open_nests_ != 0) {
    out_.resize(start_);
    if (open_nests_ != 0) return fail(Errc::internal, "netlink message finished inside a nest");
    return fail(Errc::internal,
                "netlink message does not fit its " + std::to_string(limits::kMessageBytesMax) + " bytes");
  }
  out_.resize(end_);
  const auto length = static_cast<uint32_t>(end_ - start_);
  std::memcpy(out_.data() + start_ + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
  return {};
}

std::optional<uint8_t> Attr::u8() const { return read_int<uint8_t>(payload); }
std::optional<uint16_t> Attr::u16() const { return read_int<uint16_t>(payload); }
std::optional<uint32_t> Attr::u32() const { return read_int<uint32_t>(payload); }
std::optional<uint64_t> Attr::u64() const { return read_int<uint64_t>(payload); }

std::optional<uint16_t> Attr::be16() const {
  auto value = u16();
  if (value) value = ntohs(*value);
  return value;
}

std::optional<uint32_t> Attr::be32() const {
  auto value = u32();
  if (value) value = ntohl(*value);
  return value;
}

std::string_view Attr::string() const {
  const auto end = std::find(payload.begin(), payload.end(), uint8_t{0});
  return {reinterpret_cast<const char*>(payload.data()), static_cast<size_t>(end - payload.begin())};
}

bool AttrCursor::next(Attr& attr) {
  if (rest_.size() < kAttrHeader) {
    malformed_ = !std::all_of(rest_.begin(), rest_.end(), [](uint8_t byte) { return byte == 0; });
    return false;
  }
  nlattr header{};
  std::memcpy(&header, rest_.data(), sizeof header);
  if (header.nla_len < kAttrHeader || header.nla_len > rest_.size()) {
    malformed_ = true;
    return false;
  }
  attr = {static_cast<uint16_t>(header.nla_type & NLA_TYPE_MASK),
          rest_.subspan(kAttrHeader, header.nla_len - kAttrHeader)};
  rest_ = rest_.subspan(std::min(aligned(header.nla_len), rest_.size()));
  return true;
}

Result<void> for_each_attr(std::span<const uint8_t> region, const std::function<Result<void>(const Attr&)>& visit) {
  AttrCursor cursor(region);
  for (Attr attr; cursor.next(attr);) {
    if (auto seen = visit(attr); !seen) return seen;
  }
  if (!cursor.malformed()) return {};
  const auto rest = cursor.rest();
  if (rest.size() < kAttrHeader) {
    return fail(Errc::protocol, std::to_string(rest.size()) + " stray bytes behind the last attribute");
  }
  nlattr header{};
  std::memcpy(&header, rest.data(), sizeof header);
  return fail(Errc::protocol, "attribute " + std::to_string(header.nla_type & NLA_TYPE_MASK) + " claims " +
                                  std::to_string(header.nla_len) + " of " + std::to_string(rest.size()) + " bytes");
}

Result<AttrTable> AttrTable::parse(std::span<const uint8_t> region, uint16_t max) {
  AttrTable table;
  table.attrs_.resize(static_cast<size_t>(max) + 1);
  auto parsed = for_each_attr(region, [&](const Attr& attr) -> Result<void> {
    if (attr.type <= max) {
      table.attrs_[attr.type] = attr;
    } else {
      ++table.unknown_;
    }
    return {};
  });
  if (!parsed) return Unexpected(parsed.error());
  return table;
}

const Attr* AttrTable::find(uint16_t type) const {
  if (type >= attrs_.size() || attrs_[type].payload.data() == nullptr) return nullptr;
  return &attrs_[type];
}

Result<nlmsghdr> read_nlmsghdr(std::span<const uint8_t> message) {
  nlmsghdr header{};
  if (message.size() < kMessageHeader) {
    return fail(Errc::protocol, "netlink message of " + std::to_string(message.size()) + " bytes");
  }
  std::memcpy(&header, message.data(), sizeof header);
  if (header.nlmsg_len < kMessageHeader || header.nlmsg_len > message.size()) {
    return fail(Errc::protocol, "netlink message claims " + std::to_string(header.nlmsg_len) + " of " +
                                    std::to_string(message.size()) + " bytes");
  }
  return header;
}

Result<std::span<const uint8_t>> read_fixed_header(std::span<const uint8_t> message, void* header, size_t header_size) {
  auto nlmsg = read_nlmsghdr(message);
  if (!nlmsg) return Unexpected(nlmsg.error());
  const auto body = message.subspan(kMessageHeader, nlmsg->nlmsg_len - kMessageHeader);
  if (body.size() < header_size) {
    return fail(Errc::protocol, "netlink message of type " + std::to_string(nlmsg->nlmsg_type) + " has " +
                                    std::to_string(body.size()) + " of the " + std::to_string(header_size) +
                                    " bytes of its header");
  }
  std::memcpy(header, body.data(), header_size);
  return body.subspan(std::min(aligned(header_size), body.size()));
}

Result<void> for_each_message(
    std::span<const uint8_t> datagram,
    const std::function<Result<void>(const nlmsghdr&, std::span<const uint8_t> message)>& visit) {
  while (!datagram.empty()) {
    auto header = read_nlmsghdr(datagram);
    if (!header) return Unexpected(header.error());
    if (auto seen = visit(*header, datagram.first(header->nlmsg_len)); !seen) return seen;
    datagram = datagram.subspan(std::min(aligned(header->nlmsg_len), datagram.size()));
  }
  return {};
}

}  // namespace sepal::netlink
