// Bounded builder and reader of netlink messages over libmnl. A put that does not fit marks the builder failed and
// writes nothing; take() then returns an Error: never memory damage, never a short message.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace sepal::netlink {

// Appends one message to a caller-owned buffer that is reused over many messages (messages end to end, aligned).
class MessageBuilder {
 public:
  // `fixed_header` is the family's header (struct tcmsg, ifinfomsg, nfgenmsg …), copied behind nlmsghdr.
  MessageBuilder(std::vector<uint8_t>& out, uint16_t type, uint16_t flags, const void* fixed_header,
                 size_t header_size);
  template <typename Header>
  MessageBuilder(std::vector<uint8_t>& out, uint16_t type, uint16_t flags, const Header& header)
      : MessageBuilder(out, type, flags, &header, sizeof header) {}
  MessageBuilder(const MessageBuilder&) = delete;
  MessageBuilder& operator=(const MessageBuilder&) = delete;
  // Without a successful finish() the buffer is as before the constructor: an encoder may return early.
  ~MessageBuilder();

  void put_u8(uint16_t type, uint8_t value);
  void put_u16(uint16_t type, uint16_t value);   // host order
  void put_u32(uint16_t type, uint32_t value);   // host order
  void put_u64(uint16_t type, uint64_t value);   // host order
  void put_be16(uint16_t type, uint16_t value);  // value in host order, written big-endian
  void put_be32(uint16_t type, uint32_t value);
  void put_bytes(uint16_t type, const void* data, size_t size);
  void put_string(uint16_t type, std::string_view text);  // with terminating zero
  void put_flag(uint16_t type);                           // empty attribute

  // Nest by scope: auto nest = message.nest(TCA_OPTIONS); … closes when `nest` dies.
  class Nest {
   public:
    Nest(MessageBuilder& builder, uint16_t type);
    ~Nest();
    Nest(const Nest&) = delete;
    Nest& operator=(const Nest&) = delete;

   private:
    MessageBuilder& builder_;
    size_t at_;
  };
  [[nodiscard]] Nest nest(uint16_t type) { return {*this, type}; }  // sets NLA_F_NESTED

  // Finishes the message: fixes nlmsg_len. Errc::internal when a put did not fit or a nest is still open; the buffer is
  // then as before the constructor.
  Result<void> finish();

 private:
  friend class Nest;
  static constexpr size_t kNowhere = SIZE_MAX;  // offset of a nest that did not fit
  size_t open_nest(uint16_t type);
  void close_nest(size_t at);
  uint8_t* reserve(uint16_t type, size_t size);  // space for a payload, padding zeroed; nullptr when it does not fit
  void grow(size_t end);                         // makes out_ at least so long
  std::vector<uint8_t>& out_;
  size_t start_;
  size_t
      end_;  // of what is written; out_ is longer until finish(), so that it grows once per message, not per attribute
  unsigned open_nests_ = 0;
  bool failed_ = false;
  bool finished_ = false;
};

// A view of one attribute; payload sizes are checked by the readers, never trusted.
struct Attr {
  uint16_t type = 0;  // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
  std::span<const uint8_t> payload;

  [[nodiscard]] std::optional<uint8_t> u8() const;
  [[nodiscard]] std::optional<uint16_t> u16() const;
  [[nodiscard]] std::optional<uint32_t> u32() const;
  [[nodiscard]] std::optional<uint64_t> u64() const;
  [[nodiscard]] std::optional<uint16_t> be16() const;
  [[nodiscard]] std::optional<uint32_t> be32() const;
  [[nodiscard]] std::string_view string() const;  // without terminating zero
};

// One attribute after another, without a call in between: for readers of very many messages.
class AttrCursor {
 public:
  explicit AttrCursor(std::span<const uint8_t> region) : rest_(region) {}
  // False at the end: of the region, or where a length is malformed (bytes after the last whole attribute that are only
  // padding are fine).
  bool next(Attr& attr);
  [[nodiscard]] bool malformed() const { return malformed_; }
  [[nodiscard]] std::span<const uint8_t> rest() const { return rest_; }  // from where it stopped

 private:
  std::span<const uint8_t> rest_;
  bool malformed_ = false;
};

// Calls `visit` for each attribute of a region; Errc::protocol on a malformed length (bytes after the last whole
// attribute that are only padding are fine).
Result<void> for_each_attr(std::span<const uint8_t> region, const std::function<Result<void>(const Attr&)>& visit);
// Random access by type over one level: the last of each type wins; types above `max` are counted, not kept.
class AttrTable {
 public:
  static Result<AttrTable> parse(std::span<const uint8_t> region, uint16_t max);
  [[nodiscard]] const Attr* find(uint16_t type) const;
  [[nodiscard]] uint32_t unknown() const { return unknown_; }

 private:
  std::vector<Attr> attrs_;  // index = type; payload.data() null when absent
  uint32_t unknown_ = 0;
};

// Splits a datagram into messages; checks every nlmsg_len. `visit` gets a copy of the header (safe whatever the
// datagram's alignment) and the whole message, header included and trailing padding excluded.
Result<void> for_each_message(
    std::span<const uint8_t> datagram,
    const std::function<Result<void>(const nlmsghdr&, std::span<const uint8_t> message)>& visit);

// Copies the nlmsghdr of a whole message; Errc::protocol when it is shorter than that or than its own nlmsg_len.
Result<nlmsghdr> read_nlmsghdr(std::span<const uint8_t> message);
// Copies the family's fixed header out of a whole message and returns the region of attributes behind it.
Result<std::span<const uint8_t>> read_fixed_header(std::span<const uint8_t> message, void* header, size_t header_size);
template <typename Header>
Result<std::span<const uint8_t>> read_fixed_header(std::span<const uint8_t> message, Header& header) {
  return read_fixed_header(message, &header, sizeof header);
}

}  // namespace sepal::netlink
