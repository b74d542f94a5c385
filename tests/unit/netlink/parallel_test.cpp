#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include "netlink/channel.hpp"
#include "netlink/message.hpp"
#include "tests/support/fake_channel.hpp"

namespace sepal::netlink {
namespace {

using test::FakeChannel;

class Parallel : public testing::Test {
 protected:
  Parallel() {
    std::vector<std::unique_ptr<Transport>> members;
    for (int i = 0; i < 3; ++i) {
      auto channel = std::make_unique<FakeChannel>();
      kernels_.push_back(channel.get());
      members.push_back(make_transport(std::move(channel), {.protocol = NETLINK_ROUTE}));
    }
    transport_ = make_parallel_transport(std::move(members));
  }

  // Each carries its own number behind the header.
  static Bytes requests(uint32_t count) {
    Bytes bytes;
    for (uint32_t i = 0; i < count; ++i) {
      MessageBuilder message(bytes, RTM_NEWTFILTER, NLM_F_REQUEST, i);
      EXPECT_TRUE(message.finish());
    }
    return bytes;
  }

  [[nodiscard]] std::vector<uint32_t> numbers_at(size_t kernel) const {
    std::vector<uint32_t> numbers;
    for (const Bytes& request : kernels_[kernel]->requests) {
      uint32_t number = 0;
      EXPECT_TRUE(read_fixed_header(request, number));
      numbers.push_back(number);
    }
    return numbers;
  }

  Result<void> transact(uint32_t count) {
    Bytes bytes = requests(count);
    return transport_->transact(bytes, [this](size_t i, const Answer& answer) {
      order_.push_back(i);
      if (!answer) refused_.push_back(i);
    });
  }

  std::vector<FakeChannel*> kernels_;
  std::unique_ptr<Transport> transport_;
  std::vector<size_t> order_;
  std::vector<size_t> refused_;
};

TEST_F(Parallel, spans_are_contiguous_and_equal_and_cover_everything) {
  ASSERT_TRUE(transact(3001));
  uint32_t next = 0;
  for (size_t kernel = 0; kernel < 3; ++kernel) {
    const auto numbers = numbers_at(kernel);
    EXPECT_NEAR(static_cast<double>(numbers.size()), 1000.0, 1.0);
    for (const uint32_t number : numbers) EXPECT_EQ(number, next++);
  }
  EXPECT_EQ(next, 3001U);
  EXPECT_EQ(transport_->writes(), 3001U);
}

TEST_F(Parallel, answers_come_in_the_order_of_requests_whoever_was_asked) {
  kernels_[0]->refuse[5] = {EEXIST, ""};
  kernels_[2]->refuse[7] = {EEXIST, ""};
  ASSERT_TRUE(transact(3000));
  ASSERT_EQ(order_.size(), 3000U);
  for (size_t i = 0; i < order_.size(); ++i) ASSERT_EQ(order_[i], i);
  EXPECT_EQ(refused_, (std::vector<size_t>{5, 2007}));
}

TEST_F(Parallel, few_requests_are_not_worth_a_thread) {
  ASSERT_TRUE(transact(100));
  EXPECT_EQ(kernels_[0]->requests.size(), 100U);
  EXPECT_TRUE(kernels_[1]->requests.empty());
}

TEST_F(Parallel, one_broken_connection_is_a_resync_that_keeps_the_others_answers) {
  kernels_[1]->push_overrun();
  auto done = transact(3000);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::resync);
  EXPECT_EQ(order_.size(), 2000U);
  EXPECT_EQ(order_.front(), 0U);
  EXPECT_EQ(order_.back(), 2999U);
}

TEST_F(Parallel, flights_are_spread_over_the_sockets_and_each_goes_whole_to_one) {
  std::vector<std::unique_ptr<Flight>> flights;
  for (int i = 0; i < 30; ++i) flights.push_back(transport_->start(requests(70)));
  size_t answers = 0;
  for (auto& flight : flights)
    EXPECT_TRUE(flight->finish([&](size_t, const Answer& answer) { answers += answer ? 1 : 0; }));
  EXPECT_EQ(answers, 2100U);
  EXPECT_EQ(transport_->writes(), 2100U);
  for (size_t kernel = 0; kernel < 3; ++kernel) {
    const auto numbers = numbers_at(kernel);
    EXPECT_EQ(numbers.size() % 70, 0U) << "a flight was torn";
    for (size_t i = 0; i < numbers.size(); ++i) ASSERT_EQ(numbers[i], i % 70);
  }
}

TEST_F(Parallel, a_flight_tells_its_refusals_in_order_like_a_call) {
  kernels_[0]->refuse[5] = {EEXIST, ""};
  auto flight = transport_->start(requests(70));
  ASSERT_TRUE(flight->finish([this](size_t i, const Answer& answer) {
    order_.push_back(i);
    if (!answer) refused_.push_back(i);
  }));
  EXPECT_EQ(order_.size(), 70U);
  EXPECT_EQ(refused_, (std::vector<size_t>{5}));
}

TEST_F(Parallel, a_call_or_a_dump_in_between_waits_for_the_flights_of_its_socket) {
  auto flight = transport_->start(requests(3000));
  ASSERT_TRUE(transact(100));
  EXPECT_TRUE(flight->finish([](size_t, const Answer& answer) { EXPECT_TRUE(answer); }));
  EXPECT_EQ(transport_->writes(), 3100U);
}

TEST_F(Parallel, a_flight_nobody_asked_about_has_ended_when_it_is_gone) {
  transport_->start(requests(1000)).reset();
  size_t sent = 0;
  for (const FakeChannel* kernel : kernels_) sent += kernel->requests.size();
  EXPECT_EQ(sent, 1000U);
}

TEST_F(Parallel, a_broken_connection_is_a_resync_of_its_flight_alone) {
  kernels_[0]->push_overrun();
  auto broken = transport_->start(requests(70));
  auto whole = transport_->start(requests(70));
  EXPECT_EQ(broken->finish([](size_t, const Answer&) {}).error().code, Errc::resync);
  EXPECT_TRUE(whole->finish([](size_t, const Answer&) {}));
}

TEST_F(Parallel, malformed_requests_are_not_sent_by_anyone) {
  Bytes bytes = requests(3000);
  bytes.resize(bytes.size() - 2);
  auto done = transport_->transact(bytes, [](size_t, const Answer&) { FAIL(); });
  EXPECT_EQ(done.error().code, Errc::internal);
  for (const FakeChannel* kernel : kernels_) EXPECT_TRUE(kernel->requests.empty());
}

}  // namespace
}  // namespace sepal::netlink
