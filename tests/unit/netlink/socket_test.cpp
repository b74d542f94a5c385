// The transport over a kernel that answers datagram by datagram, and sometimes should not be trusted.
#include <gtest/gtest.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/rtnetlink.h>

#include <cstring>

#include "base/limits.hpp"
#include "netlink/channel.hpp"
#include "netlink/message.hpp"
#include "tests/support/fake_channel.hpp"

namespace sepal::netlink {
namespace {

using test::FakeChannel;

struct Outcome {
  Result<void> result;
  std::vector<size_t> order;
  std::vector<Answer> answers;
};

class Socket : public testing::Test {
 protected:
  Socket() { open(NETLINK_ROUTE); }

  void open(int protocol) {
    auto channel = std::make_unique<FakeChannel>();
    kernel_ = channel.get();
    transport_ = make_transport(std::move(channel), {.protocol = protocol});
  }

  static Bytes requests(size_t count, uint16_t type = RTM_NEWTFILTER, size_t payload = 0) {
    Bytes bytes;
    const Bytes content(payload, 0x5a);
    for (size_t i = 0; i < count; ++i) {
      MessageBuilder message(bytes, type, NLM_F_REQUEST | NLM_F_CREATE, static_cast<uint32_t>(i));
      if (payload != 0) message.put_bytes(1, content.data(), content.size());
      EXPECT_TRUE(message.finish());
    }
    return bytes;
  }

  Outcome transact(Bytes bytes) {
    Outcome outcome;
    outcome.result = transport_->transact(bytes, [&outcome](size_t i, const Answer& answer) {
      outcome.order.push_back(i);
      outcome.answers.push_back(answer);
    });
    return outcome;
  }

  [[nodiscard]] nlmsghdr sent(size_t i) const { return *read_nlmsghdr(kernel_->requests.at(i)); }

  // One message of a dump that carries `value`.
  static Bytes part(uint32_t seq, uint32_t value, uint16_t flags = NLM_F_MULTI) {
    Bytes payload(sizeof value);
    std::memcpy(payload.data(), &value, sizeof value);
    return test::plain_message(RTM_NEWTFILTER, flags, seq, payload);
  }
  static Bytes join(std::initializer_list<Bytes> parts) {
    Bytes all;
    for (const Bytes& one : parts) all.insert(all.end(), one.begin(), one.end());
    return all;
  }

  struct Dumped {
    Result<void> result;
    std::vector<uint32_t> values;
  };
  Dumped dump(const std::function<Result<void>(uint32_t)>& also = nullptr) {
    Dumped dumped;
    dumped.result = transport_->dump(requests(1, RTM_GETTFILTER), [&](BytesView message) -> Result<void> {
      uint32_t value = 0;
      EXPECT_TRUE(read_fixed_header(message, value));
      dumped.values.push_back(value);
      return also ? also(value) : Result<void>{};
    });
    return dumped;
  }

  FakeChannel* kernel_ = nullptr;
  std::unique_ptr<Transport> transport_;
};

TEST_F(Socket, every_request_is_answered_once_and_in_order) {
  const Outcome outcome = transact(requests(150));
  ASSERT_TRUE(outcome.result);
  ASSERT_EQ(outcome.order.size(), 150U);
  for (size_t i = 0; i < 150; ++i) {
    EXPECT_EQ(outcome.order[i], i);
    EXPECT_TRUE(outcome.answers[i]);
  }
}

TEST_F(Socket, requests_travel_in_batches_and_only_the_last_of_a_batch_asks_for_an_ack) {
  ASSERT_TRUE(transact(requests(150)).result);
  EXPECT_EQ(kernel_->messages_per_send, (std::vector<size_t>{64, 64, 22}));
  for (size_t i = 0; i < 150; ++i) {
    const bool last = i == 63 || i == 127 || i == 149;
    EXPECT_EQ((sent(i).nlmsg_flags & NLM_F_ACK) != 0, last) << i;
    EXPECT_EQ(sent(i).nlmsg_seq, sent(0).nlmsg_seq + i);
    EXPECT_NE(sent(i).nlmsg_flags & NLM_F_CREATE, 0);
  }
}

TEST_F(Socket, a_batch_stays_below_what_one_datagram_may_hold) {
  ASSERT_TRUE(transact(requests(64, RTM_NEWTFILTER, 10'000)).result);
  ASSERT_GT(kernel_->messages_per_send.size(), 4U);
  for (const size_t count : kernel_->messages_per_send) EXPECT_LE(count * 10'024, 128U << 10U);
}

TEST_F(Socket, no_more_than_the_window_is_ever_unanswered) {
  ASSERT_TRUE(transact(requests(3000)).result);
  EXPECT_EQ(kernel_->requests.size(), 3000U);
  EXPECT_LE(kernel_->unanswered_max, limits::kWindowMessages);
  EXPECT_GE(kernel_->unanswered_max, 4 * limits::kMessagesPerSend);  // and the window is used
}

TEST_F(Socket, a_refused_request_fails_alone_with_the_kernels_words) {
  kernel_->refuse[10] = {EEXIST, "Filter already exists"};
  kernel_->refuse[63] = {EINVAL, ""};  // the one that asked for the ack
  const Outcome outcome = transact(requests(70));
  ASSERT_TRUE(outcome.result);
  ASSERT_EQ(outcome.answers.size(), 70U);
  for (size_t i = 0; i < 70; ++i) EXPECT_EQ(outcome.answers[i].has_value(), i != 10 && i != 63) << i;
  EXPECT_EQ(outcome.answers[10].error().code, Errc::exists);
  EXPECT_EQ(outcome.answers[10].error().sys_errno, EEXIST);
  EXPECT_EQ(outcome.answers[10].error().ext_ack, "Filter already exists");
  EXPECT_EQ(outcome.answers[63].error().ext_ack, "");
}

TEST_F(Socket, extended_ack_text_is_found_behind_a_request_that_came_back_whole) {
  kernel_->refuse[1] = {EOPNOTSUPP, "Decap with goto isn't supported", /*capped=*/false};
  const Outcome outcome = transact(requests(3, RTM_NEWTFILTER, 101));
  EXPECT_EQ(outcome.answers.at(1).error().ext_ack, "Decap with goto isn't supported");
  EXPECT_EQ(outcome.answers.at(1).error().code, Errc::unsupported);
}

TEST_F(Socket, every_request_may_be_refused) {
  for (size_t i = 0; i < 300; ++i) kernel_->refuse[i] = {EBUSY, ""};
  const Outcome outcome = transact(requests(300));
  ASSERT_TRUE(outcome.result);
  ASSERT_EQ(outcome.answers.size(), 300U);
  for (const Answer& answer : outcome.answers) EXPECT_EQ(answer.error().code, Errc::transient);
}

TEST_F(Socket, a_lost_ack_is_a_resync_and_tells_nothing_false) {
  kernel_->swallow[127] = true;
  const Outcome outcome = transact(requests(128));
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, Errc::resync);
  EXPECT_EQ(outcome.answers.size(), 64U);  // the first batch is certain, of the second nothing is said
}

TEST_F(Socket, an_ack_that_never_came_is_noticed_at_the_next_one) {
  kernel_->swallow[63] = true;
  const Outcome outcome = transact(requests(128));
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, Errc::resync);
  EXPECT_TRUE(outcome.answers.empty());
}

TEST_F(Socket, an_overrun_is_a_resync) {
  kernel_->push_overrun();
  const Outcome outcome = transact(requests(5));
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, Errc::resync);
  EXPECT_EQ(outcome.result.error().sys_errno, ENOBUFS);
  EXPECT_TRUE(outcome.answers.empty());
}

TEST_F(Socket, after_a_lost_answer_the_next_call_starts_on_a_new_socket) {
  kernel_->push_overrun();
  ASSERT_FALSE(transact(requests(5)).result);
  EXPECT_EQ(kernel_->renewals, 0U);
  const Outcome again = transact(requests(5));
  EXPECT_TRUE(again.result);
  EXPECT_EQ(again.answers.size(), 5U);
  EXPECT_EQ(kernel_->renewals, 1U);
  ASSERT_TRUE(transact(requests(5)).result);
  EXPECT_EQ(kernel_->renewals, 1U);
}

TEST_F(Socket, a_failing_send_is_a_resync_that_keeps_its_errno) {
  kernel_->fail_next_send(ENOMEM);
  const Outcome outcome = transact(requests(5));
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, Errc::resync);
  EXPECT_EQ(outcome.result.error().sys_errno, ENOMEM);
  EXPECT_EQ(transport_->writes(), 0U);
}

TEST_F(Socket, half_a_message_from_the_kernel_is_a_resync) {
  Bytes half = part(1, 7);
  half.resize(half.size() - 2);
  kernel_->push(half);
  EXPECT_EQ(transact(requests(5)).result.error().code, Errc::resync);
}

TEST_F(Socket, a_datagram_cut_by_a_small_buffer_is_a_resync) {
  kernel_->push_cut(join({part(1, 7), part(1, 8)}), 20);
  EXPECT_EQ(transact(requests(5)).result.error().code, Errc::resync);
}

TEST_F(Socket, only_the_kernel_is_believed) {
  // A forged refusal with the right sequence number, from some process.
  const nlmsghdr first{sizeof(nlmsghdr), RTM_NEWTFILTER, 0, 1, 0};
  Bytes request(sizeof first);
  std::memcpy(request.data(), &first, sizeof first);
  kernel_->push(test::error_message(request, {EPERM, "forged"}), /*sender=*/777);
  const Outcome outcome = transact(requests(3));
  ASSERT_TRUE(outcome.result);
  for (const Answer& answer : outcome.answers) EXPECT_TRUE(answer);
}

TEST_F(Socket, late_answers_to_an_earlier_call_are_not_taken_for_ours) {
  ASSERT_TRUE(transact(requests(5)).result);
  const nlmsghdr stale = sent(2);
  kernel_->push(test::error_message(kernel_->requests.at(2), {EINVAL, "stale"}));
  ASSERT_EQ(stale.nlmsg_seq, sent(0).nlmsg_seq + 2);
  const Outcome outcome = transact(requests(5));
  ASSERT_TRUE(outcome.result);
  for (const Answer& answer : outcome.answers) EXPECT_TRUE(answer);
}

TEST_F(Socket, malformed_requests_are_our_own_fault_and_are_not_sent) {
  Bytes bytes = requests(2);
  bytes.resize(bytes.size() - 4);
  const Outcome outcome = transact(bytes);
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, Errc::internal);
  EXPECT_TRUE(kernel_->requests.empty());
}

TEST_F(Socket, nothing_to_send_is_success) {
  EXPECT_TRUE(transact({}).result);
  EXPECT_TRUE(kernel_->requests.empty());
}

TEST_F(Socket, writes_are_counted_and_reads_are_not) {
  ASSERT_TRUE(transact(requests(3, RTM_NEWTFILTER)).result);
  ASSERT_TRUE(transact(requests(2, RTM_DELTFILTER)).result);
  ASSERT_TRUE(transact(requests(1, RTM_SETLINK)).result);
  EXPECT_EQ(transport_->writes(), 6U);
  ASSERT_TRUE(transact(requests(4, RTM_GETTFILTER)).result);
  kernel_->reply = [this](const nlmsghdr& header, BytesView) { kernel_->push(test::done_message(header.nlmsg_seq)); };
  ASSERT_TRUE(dump().result);
  EXPECT_EQ(transport_->writes(), 6U);
}

TEST_F(Socket, in_conntrack_new_and_delete_are_writes) {
  open(NETLINK_NETFILTER);
  constexpr uint16_t kSubsystem = NFNL_SUBSYS_CTNETLINK << 8;
  ASSERT_TRUE(transact(requests(1, kSubsystem | IPCTNL_MSG_CT_GET)).result);
  EXPECT_EQ(transport_->writes(), 0U);
  ASSERT_TRUE(transact(requests(2, kSubsystem | IPCTNL_MSG_CT_DELETE)).result);
  ASSERT_TRUE(transact(requests(1, kSubsystem | IPCTNL_MSG_CT_NEW)).result);
  EXPECT_EQ(transport_->writes(), 3U);
}

TEST_F(Socket, nfnetlinks_one_refusal_for_a_whole_datagram_answers_all_of_it) {
  open(NETLINK_NETFILTER);
  kernel_->refuse[0] = {EPERM, ""};
  for (size_t i = 1; i < 10; ++i) kernel_->swallow[i] = true;  // nfnetlink_rcv() reads no further
  const Outcome outcome = transact(requests(10, (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE));
  ASSERT_TRUE(outcome.result);
  ASSERT_EQ(outcome.answers.size(), 10U);
  for (const Answer& answer : outcome.answers) EXPECT_EQ(answer.error().sys_errno, EPERM);
}

TEST_F(Socket, a_dump_hands_over_every_message_up_to_its_end) {
  kernel_->reply = [this](const nlmsghdr& header, BytesView) {
    EXPECT_EQ(header.nlmsg_flags & NLM_F_DUMP, NLM_F_DUMP);
    kernel_->push(join({part(header.nlmsg_seq, 1), part(header.nlmsg_seq, 2)}));
    kernel_->push(join({part(header.nlmsg_seq, 3), test::done_message(header.nlmsg_seq)}));
  };
  const Dumped dumped = dump();
  EXPECT_TRUE(dumped.result);
  EXPECT_EQ(dumped.values, (std::vector<uint32_t>{1, 2, 3}));
}

TEST_F(Socket, an_interrupted_dump_is_a_resync_and_the_socket_stays_in_use) {
  bool interrupt = true;
  kernel_->reply = [&](const nlmsghdr& header, BytesView) {
    kernel_->push(part(header.nlmsg_seq, 1));
    kernel_->push(part(header.nlmsg_seq, 2, interrupt ? NLM_F_MULTI | NLM_F_DUMP_INTR : NLM_F_MULTI));
    kernel_->push(test::done_message(header.nlmsg_seq));
    interrupt = false;
  };
  EXPECT_EQ(dump().result.error().code, Errc::resync);
  const Dumped again = dump();
  EXPECT_TRUE(again.result);
  EXPECT_EQ(again.values, (std::vector<uint32_t>{1, 2}));
  EXPECT_EQ(kernel_->renewals, 0U);
}

TEST_F(Socket, a_dump_that_fails_at_its_end_says_why) {
  kernel_->reply = [this](const nlmsghdr& header, BytesView) {
    kernel_->push(part(header.nlmsg_seq, 1));
    kernel_->push(test::done_message(header.nlmsg_seq, EMSGSIZE, "Buffer too small to dump"));
  };
  const Dumped dumped = dump();
  ASSERT_FALSE(dumped.result);
  EXPECT_EQ(dumped.result.error().sys_errno, EMSGSIZE);
  EXPECT_EQ(dumped.result.error().ext_ack, "Buffer too small to dump");
}

TEST_F(Socket, a_dump_that_is_refused_says_why) {
  kernel_->refuse[0] = {EINVAL, "Invalid values in header for dump request"};
  const Dumped dumped = dump();
  ASSERT_FALSE(dumped.result);
  EXPECT_EQ(dumped.result.error().sys_errno, EINVAL);
  EXPECT_EQ(dumped.result.error().ext_ack, "Invalid values in header for dump request");
}

TEST_F(Socket, an_overrun_in_a_dump_is_a_resync_on_a_new_socket) {
  kernel_->reply = [this](const nlmsghdr& header, BytesView) {
    kernel_->push(part(header.nlmsg_seq, 1));
    kernel_->push_overrun();
  };
  EXPECT_EQ(dump().result.error().code, Errc::resync);
  kernel_->reply = [this](const nlmsghdr& header, BytesView) { kernel_->push(test::done_message(header.nlmsg_seq)); };
  EXPECT_TRUE(dump().result);
  EXPECT_EQ(kernel_->renewals, 1U);
}

TEST_F(Socket, a_sink_that_has_enough_gets_no_more_and_the_rest_is_drained) {
  kernel_->reply = [this](const nlmsghdr& header, BytesView) {
    for (uint32_t value = 1; value <= 4; ++value) kernel_->push(part(header.nlmsg_seq, value));
    kernel_->push(test::done_message(header.nlmsg_seq));
  };
  const Dumped dumped = dump([](uint32_t value) -> Result<void> {
    if (value == 2) return fail(Errc::conflict, "enough");
    return {};
  });
  EXPECT_EQ(dumped.result.error().code, Errc::conflict);
  EXPECT_EQ(dumped.values, (std::vector<uint32_t>{1, 2}));
  const Dumped again = dump();
  EXPECT_EQ(again.values, (std::vector<uint32_t>{1, 2, 3, 4}));
}

TEST_F(Socket, a_dump_without_end_is_a_resync_at_the_deadline) {
  kernel_->reply = [this](const nlmsghdr& header, BytesView) { kernel_->push(part(header.nlmsg_seq, 1)); };
  const Dumped dumped = dump();
  EXPECT_EQ(dumped.result.error().code, Errc::resync);
  EXPECT_EQ(dumped.result.error().sys_errno, ETIMEDOUT);
}

TEST_F(Socket, a_get_hands_over_the_reply_and_waits_for_the_ack) {
  kernel_->reply = [this](const nlmsghdr& header, BytesView) {
    EXPECT_NE(header.nlmsg_flags & NLM_F_ACK, 0);
    kernel_->push(part(header.nlmsg_seq, 41, 0));
    kernel_->push(test::ack_message(header));
  };
  std::vector<uint32_t> values;
  auto got = transport_->get(requests(1, RTM_GETTFILTER), [&values](BytesView message) -> Result<void> {
    uint32_t value = 0;
    EXPECT_TRUE(read_fixed_header(message, value));
    values.push_back(value);
    return {};
  });
  EXPECT_TRUE(got);
  EXPECT_EQ(values, (std::vector<uint32_t>{41}));
}

TEST_F(Socket, a_get_of_what_is_not_there_says_so) {
  kernel_->refuse[0] = {ENOENT, "Specified filter handle not found"};
  auto got = transport_->get(requests(1, RTM_GETTFILTER), [](BytesView) -> Result<void> { return {}; });
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::not_found);
  EXPECT_EQ(got.error().ext_ack, "Specified filter handle not found");
}

TEST_F(Socket, what_the_kernel_remarks_on_a_request_it_carried_out_is_handed_on) {
  kernel_->refuse[0] = {0, "mlx5_core: Unsupported key"};
  auto remark = transport_->remark(requests(1));
  ASSERT_TRUE(remark) << remark.error().message();
  EXPECT_EQ(*remark, "mlx5_core: Unsupported key");
  EXPECT_NE(sent(0).nlmsg_flags & NLM_F_ACK, 0);
  EXPECT_EQ(transport_->writes(), 1U);

  remark = transport_->remark(requests(1));
  ASSERT_TRUE(remark);
  EXPECT_EQ(*remark, "");

  kernel_->refuse[2] = {EOPNOTSUPP, "no such thing"};
  remark = transport_->remark(requests(1));
  ASSERT_FALSE(remark);
  EXPECT_EQ(remark.error().sys_errno, EOPNOTSUPP);
  EXPECT_EQ(remark.error().ext_ack, "no such thing");
}

}  // namespace
}  // namespace sepal::netlink
