// The daemon's ear: what happens to a watch when its descriptor or its handler is out of order.
#include "agent/events.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <filesystem>
#include <functional>
#include <stdexcept>

#include "base/log.hpp"
#include "base/unique_fd.hpp"

namespace sepal::agent {
namespace {

using Clock = std::chrono::steady_clock;

class EventsTest : public ::testing::Test {
 protected:
  EventsTest() {
    log::set_level(static_cast<log::Level>(0));
    std::string pattern = (std::filesystem::temp_directory_path() / "sepal-events-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    auto opened = Events::open(directory_ + "/socket");
    if (opened) events_ = std::move(*opened);
  }
  ~EventsTest() override {
    events_.reset();
    std::filesystem::remove_all(directory_);
    log::set_level(log::Level::info);
  }

  bool comes(const std::function<bool()>& what) {
    const auto end = Clock::now() + std::chrono::seconds(10);
    while (!what() && Clock::now() < end) events_->wait(Clock::now() + std::chrono::milliseconds(50));
    return what();
  }

  std::string directory_;
  std::unique_ptr<Events> events_;
};

TEST_F(EventsTest, a_handler_is_called_until_it_has_enough) {
  ASSERT_TRUE(events_);
  const UniqueFd readable(::eventfd(1, EFD_CLOEXEC));
  int calls = 0;
  EXPECT_TRUE(events_->watch(readable.get(), [&] { return ++calls < 3; }, std::chrono::milliseconds(1)));
  EXPECT_TRUE(comes([&] { return calls == 3; }));
  events_->wait(Clock::now() + std::chrono::milliseconds(100));
  EXPECT_EQ(calls, 3);
}

TEST_F(EventsTest, a_handler_that_throws_is_called_again) {
  ASSERT_TRUE(events_);
  const UniqueFd readable(::eventfd(1, EFD_CLOEXEC));
  int calls = 0;
  EXPECT_TRUE(events_->watch(readable.get(), [&] {
    if (++calls == 1) throw std::runtime_error("out of order");
    return false;
  }));
  EXPECT_TRUE(comes([&] { return calls == 2; }));
}

TEST_F(EventsTest, a_descriptor_that_cannot_be_waited_for_is_read_all_the_same) {
  ASSERT_TRUE(events_);
  const std::string path = directory_ + "/file";  // epoll takes no files
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(file.valid());
  int calls = 0;
  EXPECT_TRUE(events_->watch(file.get(), [&] { return ++calls < 2; }));
  EXPECT_TRUE(comes([&] { return calls == 2; }));
}

TEST_F(EventsTest, what_is_no_descriptor_cannot_be_watched) {
  ASSERT_TRUE(events_);
  EXPECT_FALSE(events_->watch(-1, [] { return true; }));
}

}  // namespace
}  // namespace sepal::agent
