// A generic netlink kernel that answers one request with prepared attributes, and requests and attributes as hex text
// that can carry notes.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "netlink/generic.hpp"
#include "tests/support/fake_channel.hpp"

namespace sepal::netlink {

// "0c 00 02 00 \"lo\" # a note": hexadecimal bytes, quoted text, and notes up to the end of the line.
inline Bytes hex(std::string_view text) {
  Bytes bytes;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '#') {
      i = std::min(text.find('\n', i), text.size());
    } else if (text[i] == '"') {
      for (++i; text[i] != '"'; ++i) bytes.push_back(static_cast<uint8_t>(text[i]));
      ++i;
    } else if (text[i] == ' ' || text[i] == '\n') {
      ++i;
    } else {
      bytes.push_back(static_cast<uint8_t>(std::stoul(std::string(text.substr(i, 2)), nullptr, 16)));
      i += 2;
    }
  }
  return bytes;
}

inline std::string as_hex(BytesView bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
    text += (text.size() + 1) % 48 == 0 ? '\n' : ' ';
  }
  return text;
}

class GenericBed : public testing::Test {
 protected:
  GenericBed() {
    auto channel = std::make_unique<test::FakeChannel>();
    kernel_ = channel.get();
    transport_ = make_transport(std::move(channel), {.protocol = NETLINK_GENERIC});
  }

  // Answers every request with a message of `type` for each text: genlmsghdr and attributes.
  void answer(uint16_t type, std::vector<std::string> texts, bool dump = false) {
    kernel_->reply = [this, type, texts = std::move(texts), dump](const nlmsghdr& header, BytesView) {
      for (const std::string& text : texts) {
        const Bytes payload = hex(text);
        kernel_->push(test::plain_message(type, dump ? NLM_F_MULTI : 0, header.nlmsg_seq, payload));
      }
      kernel_->push(dump ? test::done_message(header.nlmsg_seq) : test::ack_message(header));
    };
  }

  // The request that was sent, compared from nlmsg_type on but for flags, sequence and port id, which are the
  // transport's; the length in front of it is compared as well.
  void expect_sent(std::string_view wanted) {
    ASSERT_FALSE(kernel_->requests.empty());
    Bytes sent = kernel_->requests.back();
    Bytes expected = hex(wanted);
    ASSERT_GE(expected.size(), sizeof(nlmsghdr));
    for (Bytes* bytes : {&sent, &expected}) std::memset(bytes->data() + 6, 0, sizeof(nlmsghdr) - 6);
    EXPECT_EQ(as_hex(sent), as_hex(expected));
  }

  test::FakeChannel* kernel_;
  std::unique_ptr<Transport> transport_;
};

}  // namespace sepal::netlink
